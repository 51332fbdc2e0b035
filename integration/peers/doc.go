// Command peers does the same work with this library, with the other ways to do
// it, and with the floor under all of them: in turns, many times over, so that
// all of them meet the same moods of the machine. It prints medians with their
// spread, and what was aimed at beside what was reached.
//
//	go run ./peers                    # everything but stores and restart
//	go run ./peers -only hits,shared  # some sections
//
// With -into it puts the report into a document, and a plot beside it. It needs
// redis-server, and memcached for stores.
package main
