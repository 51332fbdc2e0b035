package nearredis_test

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/nearcache/nearredis"
)

// TestRecommend: options that are set stay, but for the one without which clients are refused.
func TestRecommend(t *testing.T) {
	o := nearredis.Recommend(&redis.Options{Addr: "a:1", PoolSize: 7})
	assert.Equal(t, &redis.Options{Addr: "a:1", PoolSize: 7, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true}, o)
	assert.Equal(t, &redis.ClusterOptions{PoolSize: 50, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true},
		nearredis.Recommend(&redis.ClusterOptions{}))
	assert.Equal(t, &redis.FailoverOptions{PoolSize: 50, MaxRetries: 2, DialerRetries: 1, ContextTimeoutEnabled: true},
		nearredis.Recommend(&redis.FailoverOptions{MaxRetries: 2}))
	assert.Equal(t, &redis.UniversalOptions{PoolSize: 50, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true},
		nearredis.Recommend(&redis.UniversalOptions{}))
}
