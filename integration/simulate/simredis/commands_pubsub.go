package simredis

import "slices"

var pubsubCommands = []command{
	{"subscribe", -2, notInScripts | subscribes, subscribe},
	{"unsubscribe", -1, notInScripts | subscribes, unsubscribe},
	{"ssubscribe", -2, notInScripts | subscribes, ssubscribe},
	{"sunsubscribe", -1, notInScripts | subscribes, sunsubscribe},
	{"publish", 3, 0, publish},
	{"spublish", 3, 0, spublish},
	{"pubsub", -2, 0, pubsub},
}

func subscribe(s *Server, c *client, args []string) reply {
	for _, channel := range args[1:] {
		if !slices.Contains(c.channels, channel) {
			c.channels = append(c.channels, channel)
			s.channels[channel] = append(s.channels[channel], c)
		}
		c.tell("subscribe", bulk(channel), len(c.channels))
	}
	return reply{}
}

func ssubscribe(s *Server, c *client, args []string) reply {
	for _, channel := range args[1:] {
		if !slices.Contains(c.shards, channel) {
			c.shards = append(c.shards, channel)
			s.shards[channel] = append(s.shards[channel], c)
		}
		c.tell("ssubscribe", bulk(channel), len(c.shards))
	}
	return reply{}
}

func unsubscribe(s *Server, c *client, args []string) reply {
	c.channels = c.unsubscribe("unsubscribe", s.channels, c.channels, args[1:])
	return reply{}
}

func sunsubscribe(s *Server, c *client, args []string) reply {
	c.shards = c.unsubscribe("sunsubscribe", s.shards, c.shards, args[1:])
	return reply{}
}

// unsubscribe ends subscriptions to some channels, or to all, and returns what is left.
func (c *client) unsubscribe(kind string, all map[string][]*client, mine, channels []string) []string {
	if len(channels) == 0 {
		channels = slices.Clone(mine)
		slices.Reverse(channels)
	}
	if len(channels) == 0 {
		c.tell(kind, null, len(mine))
	}
	for _, channel := range channels {
		if at := slices.Index(mine, channel); at >= 0 {
			mine = slices.Delete(mine, at, at+1)
			forget(all, channel, c)
		}
		c.tell(kind, bulk(channel), len(mine))
	}
	return mine
}

// forget takes c out of the subscribers of a channel.
func forget(all map[string][]*client, channel string, c *client) {
	left := slices.DeleteFunc(all[channel], func(other *client) bool { return other == c })
	if len(left) == 0 {
		delete(all, channel)
		return
	}
	all[channel] = left
}

// tell confirms a subscription or its end.
func (c *client) tell(kind string, channel reply, count int) {
	c.push(reply{kind: pushReply, list: []reply{bulk(kind), channel, integer(int64(count))}})
}

// push says what the client did not ask for.
func (c *client) push(r reply) {
	c.say(r)
	c.out.Flush()
}

func publish(s *Server, _ *client, args []string) reply {
	return s.publishLocked(args, "message", s.channels[args[1]])
}

func spublish(s *Server, _ *client, args []string) reply {
	return s.publishLocked(args, "smessage", s.shards[args[1]])
}

func (s *Server) publishLocked(args []string, kind string, to []*client) reply {
	for _, c := range to {
		c.push(reply{kind: pushReply, list: []reply{bulk(kind), bulk(args[1]), bulk(args[2])}})
	}
	s.propagate(args...)
	return integer(int64(len(to)))
}

func pubsub(s *Server, c *client, args []string) reply {
	return subcommand(s, c, args, []command{
		{"numsub", -2, 0, func(s *Server, _ *client, args []string) reply { return counts(s.channels, args[2:]) }},
		{"shardnumsub", -2, 0, func(s *Server, _ *client, args []string) reply { return counts(s.shards, args[2:]) }},
	})
}

func counts(all map[string][]*client, channels []string) reply {
	var list []reply
	for _, channel := range channels {
		list = append(list, bulk(channel), integer(int64(len(all[channel]))))
	}
	return array(list...)
}
