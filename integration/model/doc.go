// Command model searches models of the protocol to their ends.
//
// Each model is a file in Promela, the language of SPIN. It describes a part of the
// protocol: nodes, the shared tier, the bus and what breaks, each step as atomic as the
// code makes it. The search visits every state that any order of steps can reach. It must
// find nothing with all rules in force, and it must find a broken promise with any one of
// the rules left out.
//
//	go run ./model                       search everything
//	go run ./model -small                small sizes of everything
//	go run ./model -only lease           one model
//	go run ./model -only lease -off BORN one rule of it left out: prints what happens then
//	go run ./model -root ..              search everything, and write what was found into docs/models.md
//
// What begins with "// word: text" at the top of a model says what is searched, see
// [model].
package main
