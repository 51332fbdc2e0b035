package driver

import "time"

// MaxKeySize is the length of the longest key in a store, in bytes.
const MaxKeySize = 1024

// MaxDuration is the longest time that a record or a lease lives, and what stores may be asked
// for: what is added to a time stays a time.
const MaxDuration = 100 * 365 * 24 * time.Hour
