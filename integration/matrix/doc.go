// Command matrix runs the tests that talk to a server against the servers that it is given, and
// writes what passed into docs/servers.md.
//
//	matrix [-redis programs] [-memcached programs] [-into page]
//
// Programs are separated by spaces. Each is a path, or a name to be found in PATH: redis-server,
// valkey-server, keydb-server, dragonfly, GarnetServer, kvrocks; memcached. Without both flags,
// redis-server and memcached run. Each server says its version itself, and has the row of that
// version. A row without a run gives way to the first run of its line of versions. After the page
// was written, a failing test is a failure of the command.
package main
