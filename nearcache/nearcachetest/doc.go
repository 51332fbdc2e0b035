// Package nearcachetest checks that nodes over a given shared tier and bus keep
// the guarantees of package nearcache: it is the suite to run over a store or
// a transport of your own, after those of storetest and bustest.
//
//	func TestCoherence(t *testing.T) {
//		nearcachetest.Run(t, nearcachetest.Fleet{Join: joinMyFleet})
//	}
//
// Every case drives several nodes with readers and writers at once, against a
// source of truth that has a version for each key, and judges every answer:
//
//   - own writes: after a write returned, its node never answers with an older
//     version (G1);
//   - monotonic reads: a read that starts after another returned, on the same
//     node, never answers with an older version (G2), except without a shared
//     tier, where loads that overlap have no order;
//   - stale fill: a slow load that began before a write leaves its version
//     nowhere (G5);
//   - agreement: once writers rest, every node answers with the last version
//     written, and goes on to (G3, G5);
//   - one load: of all nodes that miss a key at once, one loads it (G6).
//
// For tests of code that uses caches, [NewMemory] makes a fleet in memory, whose
// shared tier can be made to fail; docs/testing-your-code.md shows how.
package nearcachetest
