package simredis

// SetIDs makes the server tell the ids of another one.
func (s *Server) SetIDs(run, replication, second string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runID, s.replID, s.replID2 = run, replication, second
}

// SetMinReplicas changes [Options].MinReplicas.
func (s *Server) SetMinReplicas(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.MinReplicas = n
}

// Names returns the names of all keys, also of those that have expired.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.names()
}
