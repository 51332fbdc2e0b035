package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// answerTimeout is how long a server that accepted a connection may take to
// answer before it is asked anew.
const answerTimeout = time.Second

// askPID asks the server at addr for its process id.
func askPID(ctx context.Context, addr string, prog program) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	if _, err := conn.Write([]byte(prog.request)); err != nil {
		return 0, err
	}
	return readPID(bufio.NewScanner(conn), prog.pidLabel)
}

// ping returns nil when the server at addr answers PING of Redis.
func ping(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, answerTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(answerTimeout)) // a socket of net has deadlines
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && line != "+PONG\r\n" {
		err = fmt.Errorf("not ready: %q", line)
	}
	return err
}

// readPID reads lines up to the one with the process id. A line that begins
// with a minus sign is an error of Redis, which loads its data first.
func readPID(lines *bufio.Scanner, label string) (int, error) {
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "-") {
			return 0, fmt.Errorf("not ready: %s", line)
		}
		if pid, found := strings.CutPrefix(line, label); found {
			return strconv.Atoi(pid)
		}
	}
	return 0, errors.Join(errors.New("no process id in the answer"), lines.Err())
}
