package shardstore

// Placement returns where keys go in a map of these shards, which are sorted.
func Placement(names []string, weights []int) func(key string) string {
	m := shardMap{Epoch: 1}
	for i, name := range names {
		weight := 1
		if weights != nil {
			weight = weights[i]
		}
		m.Members = append(m.Members, member{Name: name, Weight: weight, hash: hash(name)})
	}
	return func(key string) string { return m.home(hash(key)).Name }
}
