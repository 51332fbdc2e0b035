// Package nearotel tells OpenTelemetry what a node of nearcache does. It is a module of its own,
// so that nearbus itself does not need OpenTelemetry.
//
//	telemetry, err := nearotel.New(nearotel.Options{})
//	opts := nearredis.Options{Namespace: "shop"}
//	telemetry.Instrument(&opts.OpenOptions)
//	node, err := nearredis.Open(ctx, client, opts)
//	watch, err := telemetry.Watch(node)
//
// # Spans
//
// A read that the near tier answers has no span. Any other read has one, "nearbus.read", and
// each call of a loader one, "nearbus.load", in the span of the read that began it. A read that
// waits for the load of another read has a link to it. A span is begun only inside another: the
// node begins no trace, whatever it does by itself. Attributes:
//
//	nearbus.cache.name   the cache
//	nearbus.result       of a read of one key: shared, load, stale or absent
//	nearbus.keys.count   of several keys
//	nearbus.background   of a load that refreshes a value which is served meanwhile
//	nearbus.key          only with Options.Key
//	error.type           as the semantic conventions have it; never what an error says
//
// # Metrics
//
// Every metric of [nearcache.Node.Metrics] that is no histogram has the same name with dots:
// nearbus_cache_hits_total is nearbus.cache.hits, with the attribute nearbus.cache.name. Durations
// are histograms, in seconds, with error.type for those that failed:
//
//	nearbus.cache.load.duration, nearbus.cache.wait.duration
//	nearbus.shared.read.duration, nearbus.shared.write.duration
//	nearbus.bus.publish.duration, nearbus.journal.round.duration
//	nearbus.node.lag
//
// The semantic conventions have nothing for caches. Those for databases and messaging (db.*,
// messaging.*) are the business of the instrumentation of the client, which counts every command:
// this package would count them twice.
//
// # The client
//
// The instrumentation of a client sees every command of the node, also what no request caused:
// heartbeats and rounds of reading the journal, two in a second. [Background] has a parent for
// them that is not sampled; Instrument sets it. For go-redis, redisotel also needs
// WithDBStatement(false), or spans have whole values in them, and WithDialFilter(true), or each
// new connection is a trace.
package nearotel
