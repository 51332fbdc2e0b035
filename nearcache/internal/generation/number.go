package generation

// number is one that only rises in the shared tier, as far as this node has heard of it.
// Whoever holds it protects it.
type number struct {
	value  uint64 // highest heard
	at     int64  // when the latest read of it began, on the clock of the near tier; 0 before the first
	known  bool   // value was read since it was last forgotten
	forgot uint64 // how often it was forgotten
}

func (n *number) get() (value uint64, known bool, forgot uint64) { return n.value, n.known, n.forgot }

// read says that the number was read, by a read that began at this time, when it had been
// forgotten this often.
func (n *number) read(at int64, forgot uint64) {
	n.at = max(n.at, at)
	n.known = n.known || forgot == n.forgot
}

// forget makes the next read read the number: it may have risen unheard.
func (n *number) forget() {
	n.known = false
	n.forgot++
}
