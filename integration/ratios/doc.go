// Command ratios replays reads through the near tier, through otter and through
// ristretto, and prints how often each of them had the value: at one size of heap,
// and at one number of entries.
//
//	go run ./ratios -traces orm-busy.u32be.zst,web07.u32be.zst
//	go run ./ratios -only zipf,loop -entries 1,10 -heap ''
//
// A trace is a file of big-endian 32-bit numbers, one for each read; equal numbers are
// one key. A name that ends in .zst is decompressed. Some traces are built in: see
// builtIn.
//
// The near tier is used as a service uses it, by Fetch on a node without a shared tier.
// One goroutine reads. No read is left out for warming up. The entries that a cache
// holds are counted during the run: otter exceeds its maximum for a while, by more than
// the maximum if that is small. The size of otter and ristretto is therefore chosen so
// that their mean number of entries, or their heap, is that of the near tier.
package main
