// Package neardebug shows what a node holds and knows: a page for people and JSON for
// programs, in the manner of net/http/pprof.
//
//	mux := http.NewServeMux()
//	mux.Handle("/debug/nearbus/", neardebug.Handler(node))
//	http.ListenAndServe("localhost:6060", mux)
//
// Nothing is served unless a program mounts the handler, which works under any path that ends
// in a slash. Below that are
//
//	(nothing)  the page: health, caches, their options in force and costliest keys,
//	           journals, other servers, all numbers; ?every=5 loads it again every 5 s
//	json       the same as JSON
//	key        ?cache=NAME&key=KEY: what [nearcache.Node.Inspect] says of a key; &tag=TAG, as
//	           often as needed, names tags to be shown; &format=json has it as JSON
//
// The handler only reads, and answers nothing but GET and HEAD. It never shows a value, but
// keys: the page has those that cost most. Whoever may see the page may learn which keys
// exist. It has no access control of its own: mount it where other diagnostics are, and not
// where the world can reach it. The page has no scripts and loads nothing from elsewhere.
package neardebug
