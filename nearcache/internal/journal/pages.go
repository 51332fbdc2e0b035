package journal

// tailPage is how many entries of a journal are read at first at least. While there are more, pages
// grow four times each, up to tailPages for all journals that are read in one request: what
// is written during a round trip must fit into less than a page, or a node never catches up.
// Longer ones would hold up the server, and the memory of the node.
const (
	tailPage  = 1000
	tailPages = 32_000
)

// pages has, by partition, how many entries of its journal the next round is likely to find. A round
// is over in [Follower.roundLimit], however long the servers take for a page: what is written
// between two rounds must come in the first pages, or a node far away never reaches the end.
// It belongs to the goroutine that runs rounds.
type pages []int

// first returns how many entries a round asks for at first.
func (p pages) first(partition int) int {
	return max(tailPage, min(p[partition], tailPages/len(p)))
}

// ended takes in how many entries a round read, and whether it reached the end. If it did not, the next
// round has these to make up for, unless the first page was too long to come in time.
func (p pages) ended(partition, read int, reached bool) {
	switch {
	case reached:
		p[partition] = read
	case read > 0:
		p[partition] = min(2*read, tailPages)
	default:
		p[partition] /= 2
	}
}
