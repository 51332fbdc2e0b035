package main

import "context"

// suite is a column of a table: tests of the package integration that need nothing but its server.
// What a suite stands for is said in docs/servers.md.
type suite struct{ name, tests string }

// table has the servers of one protocol.
type table struct {
	name     string
	variable string // of the environment, which names the program to the tests
	ask      func(context.Context) (server, error)
	suites   []suite
}

var redisSuites = []suite{
	{"store", `^TestStore_Redis$|^TestStore_RedisRing$|^TestRedisStore_[^C]|^TestRedis_|^TestNamespaces_Redis$`},
	{"bus", `^TestBus_ConformanceOnRedis$|^TestBus_RedisRestart$|^TestBus_RedisHalfOpen$|` +
		`^TestBus_ReadyMeansThatTheServerKnows$/^redis$|^TestAssumption_SubscribersRead$`},
	{"coherence", `^TestCoherence$/^one_Redis_for_both$|^TestCoherence$/^Redis_and_|` +
		`^TestCoherence$/^Redis_without_|^TestCoherence_Features$/^one_Redis_for_both$`},
	{"journal", `^TestRedisJournal_[^FD]|^TestStates_Redis|^TestStates_Journal|^TestHazard4_WarnsOfEviction$|^TestWrongClock_Redis$`},
	{"rights", `^TestRights_Redis(Store|Bus|NoneTooMany|InvalidateOnly|LongImages)$|` +
		`^TestRights_WhatOneLacksHarmsNoOther$|^TestCredentials_Redis`},
	{"failover", `^TestRedisJournal_Failover$|^TestRedisJournal_Deposed|^TestRedisWrite_PromotedServer$|` +
		`^TestG4_APrimaryThatWasCutOff$|^TestAssumption_ThePrimary$`},
	{"sentinel", `^TestSentinel_`},
	{"cluster", `^TestStore_RedisCluster$|^TestBus_ConformanceOnRedisCluster$|^TestBus_RedisClusterSlotMoves$|` +
		`^TestCoherence$/^Redis_Cluster_for_both$|^TestCluster_|^TestRedisStore_Cluster$|` +
		`^TestRights_RedisCluster$|^TestRedisBus_Cluster|^TestBarrier_SlotMovesAgainAndAgain$`},
}

var memcachedSuites = []suite{
	{"store", `^TestStore_Memcached$|^TestMemcachedStore_`},
	{"coherence", `^TestCoherence$/^Memcached_and_(NATS|JetStream)$|^TestCoherence_Features$/^Memcached_and_NATS$`},
	{"limits", `^TestStates_MemcachedIsFull$|^TestAssumption_MemcachedTakesTombstones$|^TestPool_Memcached$|^TestWrongClock_Memcached$`},
	{"rights", `^TestRights_Memcached$|^TestCredentials_Memcached$`},
}
