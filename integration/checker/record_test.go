package main

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/nearbus/nearbus/integration/history"
)

func TestRecord_IsReadAsWritten(t *testing.T) {
	r := record{Kind: history.GaveUp, Key: 7, Version: -3, Start: 5, End: 1 << 60}
	b := appendRecord(nil, &r)
	assert.Len(t, b, recordSize)
	assert.Equal(t, r, parseRecord(b))
}

func TestRecord_KeepsItsFlags(t *testing.T) {
	for _, r := range []record{
		{Kind: history.AtRest, Key: 7, Absent: true},
		{Kind: history.Read, Key: 7, Stale: true},
		{Kind: history.Acked, Absent: true, Stale: true},
	} {
		assert.Equal(t, r, parseRecord(appendRecord(nil, &r)))
	}
}

func TestAbsentAt(t *testing.T) {
	assert.True(t, absentAt(1, 3) && absentAt(1, 7) && !absentAt(1, 4) && !absentAt(2, 3))
}
