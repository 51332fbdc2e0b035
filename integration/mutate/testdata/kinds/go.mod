module kinds

go 1.26.0
