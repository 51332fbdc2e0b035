package simredis

import (
	"fmt"
	"strconv"
	"strings"
)

var serverCommands = []command{
	{"hello", -1, notInScripts, hello},
	{"ping", -1, subscribes, ping},
	{"echo", 2, 0, func(_ *Server, _ *client, args []string) reply { return bulk(args[1]) }},
	{"quit", -1, notInScripts | subscribes, quit},
	{"select", 2, 0, selectDatabase},
	{"client", -2, notInScripts, clientCommand},
	{"time", 1, 0, timeCommand},
	{"info", -1, 0, info},
	{"cluster", -2, 0, cluster},
}

func hello(s *Server, c *client, args []string) reply {
	protocol := c.protocol
	if len(args) > 1 {
		n, is := integerArgument(args[1])
		if !is {
			return failure("ERR Protocol version is not an integer or out of range")
		}
		if n != 2 && n != 3 {
			return failure("NOPROTO unsupported protocol version")
		}
		protocol = int(n)
	}
	for i := 2; i < len(args); i++ {
		left := len(args) - i - 1
		switch option := strings.ToUpper(args[i]); {
		case option == "SETNAME" && left >= 1:
			i++
			if !nameable(args[i]) {
				return failure(errClientName)
			}
			c.name = args[i]
		case option == "AUTH" && left >= 2: // whoever comes is let in
			i += 2
		default:
			return failure("ERR Syntax error in HELLO option '" + args[i] + "'")
		}
	}
	c.protocol = protocol
	role := "master"
	if s.primary != nil {
		role = "replica"
	}
	return pairs(
		bulk("server"), bulk("redis"),
		bulk("version"), bulk(Version),
		bulk("proto"), integer(int64(protocol)),
		bulk("id"), integer(c.id),
		bulk("mode"), bulk("standalone"),
		bulk("role"), bulk(role),
		bulk("modules"), array(),
	)
}

func ping(_ *Server, c *client, args []string) reply {
	if len(args) > 2 {
		return failure("ERR wrong number of arguments for 'ping' command")
	}
	text := ""
	if len(args) == 2 {
		text = args[1]
	}
	switch {
	case c.protocol == 2 && c.subscribed():
		return array(bulk("pong"), bulk(text))
	case len(args) == 2:
		return bulk(text)
	}
	return status("PONG")
}

func quit(_ *Server, c *client, _ []string) reply {
	c.quit = true
	return ok
}

func selectDatabase(_ *Server, _ *client, args []string) reply {
	n, is := integerArgument(args[1])
	switch {
	case !is:
		return failure(errNoInteger)
	case n != 0: // there is one
		return failure("ERR DB index is out of range")
	}
	return ok
}

const errClientName = "ERR Client names cannot contain spaces, newlines or special characters."

func nameable(name string) bool {
	return strings.IndexFunc(name, func(r rune) bool { return r < '!' || r > '~' }) < 0
}

func clientCommand(s *Server, c *client, args []string) reply {
	return subcommand(s, c, args, []command{
		{"id", 2, 0, func(_ *Server, c *client, _ []string) reply { return integer(c.id) }},
		{"getname", 2, 0, func(_ *Server, c *client, _ []string) reply {
			if c.name == "" {
				return null
			}
			return bulk(c.name)
		}},
		{"setname", 3, 0, func(_ *Server, c *client, args []string) reply {
			if !nameable(args[2]) {
				return failure(errClientName)
			}
			c.name = args[2]
			return ok
		}},
	})
}

func timeCommand(s *Server, _ *client, _ []string) reply {
	now := s.timeLocked().UnixMicro()
	return array(bulk(strconv.FormatInt(now/1e6, 10)), bulk(strconv.FormatInt(now%1e6, 10)))
}

// cluster says that there is none, as a server without does.
func cluster(_ *Server, _ *client, _ []string) reply {
	return failure("ERR This instance has cluster support disabled")
}

// info tells sections of what there is to know.
func info(s *Server, _ *client, args []string) reply {
	sections := []string{"server", "memory", "replication"}
	if len(args) > 1 && !strings.EqualFold(args[1], "all") && !strings.EqualFold(args[1], "everything") {
		sections = args[1:]
	}
	var texts []string
	for _, section := range sections {
		if text := s.sectionLocked(strings.ToLower(section)); text != "" {
			texts = append(texts, text)
		}
	}
	return bulk(strings.Join(texts, "\r\n"))
}

func (s *Server) sectionLocked(name string) string {
	switch name {
	case "server":
		return "# Server\r\nredis_version:" + Version + "\r\nredis_mode:standalone\r\nprocess_id:1\r\nrun_id:" + s.runID + "\r\n"
	case "memory":
		return fmt.Sprintf("# Memory\r\nused_memory:%d\r\nmaxmemory:%d\r\nmaxmemory_policy:%s\r\n", s.data.bytes, s.maxMemory, s.policy)
	case "replication":
		role := "master"
		if s.primary != nil {
			role = "slave"
		}
		return "# Replication\r\nrole:" + role + "\r\nconnected_slaves:" + strconv.Itoa(len(s.replicas)) +
			"\r\nmaster_replid:" + s.replID + "\r\nmaster_replid2:" + s.replID2 + "\r\n"
	}
	return ""
}
