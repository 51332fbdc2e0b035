// Command mutate changes the code that decides coherence, one small change at a time, and
// says which changes nobody notices.
//
//	go run ./mutate -sample 100                  of all mutants, 100 by chance
//	go run ./mutate -files coherence/clock.go    all mutants of one file
//	go run ./mutate -list                        what there is, without a run
//	go run ./mutate -results out.jsonl           goes on where a run with this file stopped
//
// A mutant is given to the simulator first, which stops at the first broken promise, panic
// or deadlock, and after that to the tests of its package. What neither of them notices
// survives. No file of the repository is touched: the go command reads changed files in the
// place of the others, see -overlay of go build. One program for each package with tests has
// all mutants in it, and is told which one it is when it starts: see schema.go.
//
// Which files have mutants, and which have none and why, is in targets.go. Which survivors
// are known to do no harm, and why, is in survivors.txt.
package main
