// Command peers does the same work with this library, with the other ways to do
// it, and with the floor under all of them: in turns, many times over, so that
// all of them meet the same moods of the machine. It prints medians with their
// spread, and what was aimed at beside what was reached.
//
//	go run ./peers                    # everything
//	go run ./peers -only hits,shared  # some sections
//
// It needs redis-server.
package main
