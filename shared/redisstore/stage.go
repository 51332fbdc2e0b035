package redisstore

import (
	"context"
	"encoding/hex"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/nearbus/nearbus/shared/driver"
)

// A script copies every image that it is given, and again to store it. A long image goes
// around the script: a SET puts it under a key of its own, the stage, and the script, which
// follows in the same pipeline, gives it the name of its record and stamps it.
//
// The stage proves nothing and decides nothing. No two writes share one, and one that is not
// renamed, because the connection broke between the two for one, ends with the TTL of its
// record. Its key has the hash tag of the record, so a Cluster keeps both on one server. If
// the script does not find it, because it was evicted or its slot is on the way to another
// server, nothing is stored, and the image is sent through the script.

// longImage is how long an image is that goes around the script: from about here on copies
// cost more than the two commands.
const longImage = 2 << 10

var (
	errNotStaged = errors.New("a long image was gone before it was stored")
	errNoRename  = errors.New("the server does not let a script rename keys")
)

// writeStep returns the step of a write or a fill.
func (s *Store) writeStep(w *driver.Write, fill bool) step {
	st := step{write: w, fill: fill}
	if len(w.Image) >= longImage && w.TTL > 0 && !w.KeepStale && !s.mayNotStage.Load() {
		nonce := w.Image[driver.NonceOffset:driver.ClockOffset]
		st.stage = stage(s.metadata(s.Partition(w.Key)), nonce)
	}
	return st
}

// stage returns the key of the stage of an image, beside this metadata.
func stage(metadata string, nonce []byte) string { return metadata + "!" + hex.EncodeToString(nonce) }

// stageCmd returns the command that puts the image of a write where the script finds it.
func (s *Store) stageCmd(ctx context.Context, st *step) *redis.Cmd {
	return redis.NewCmd(ctx, "set", st.stage, st.write.Image, "px", millis(st.write.TTL))
}

// unstaged reports whether st, which failed with err, is to send its image through the
// script: it stored nothing, although the journal may have it.
func (s *Store) unstaged(st *step, err error) bool {
	if st.stage == "" {
		return false
	}
	if errors.Is(err, errNoRename) {
		s.mayNotStage.Store(true)
		return true
	}
	return errors.Is(err, errNotStaged) || code(err) == "TRYAGAIN"
}
