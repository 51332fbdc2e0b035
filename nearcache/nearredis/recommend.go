package nearredis

import "github.com/redis/go-redis/v9"

// poolSize is how many connections a process keeps: more than the ten for each processor of
// go-redis, of which small machines have too few.
const poolSize = 50

// ClientOptions are the options of a client of go-redis.
type ClientOptions interface {
	*redis.Options | *redis.UniversalOptions | *redis.ClusterOptions | *redis.FailoverOptions
}

// Recommend sets what nearbus needs of a client, and returns o. What is set already stays, but
// for ContextTimeoutEnabled, without which a client is refused.
//
//	ContextTimeoutEnabled  true  or a call outlasts its context
//	MaxRetries             -1    nearbus decides what is tried again
//	DialerRetries          1     a server that is down is noticed at once
//	PoolSize               50
func Recommend[O ClientOptions](o O) O {
	switch o := any(o).(type) {
	case *redis.Options:
		recommend(&o.ContextTimeoutEnabled, &o.MaxRetries, &o.DialerRetries, &o.PoolSize)
	case *redis.UniversalOptions:
		recommend(&o.ContextTimeoutEnabled, &o.MaxRetries, &o.DialerRetries, &o.PoolSize)
	case *redis.ClusterOptions:
		recommend(&o.ContextTimeoutEnabled, &o.MaxRetries, &o.DialerRetries, &o.PoolSize)
	case *redis.FailoverOptions:
		recommend(&o.ContextTimeoutEnabled, &o.MaxRetries, &o.DialerRetries, &o.PoolSize)
	}
	return o
}

func recommend(contextTimeout *bool, maxRetries, dialerRetries, pool *int) {
	*contextTimeout = true
	for field, value := range map[*int]int{maxRetries: -1, dialerRetries: 1, pool: poolSize} {
		if *field == 0 {
			*field = value
		}
	}
}
