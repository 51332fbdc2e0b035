// Package fault takes mechanisms of nearcache out, so that tests can show what
// each is for. It does so only in programs that are built with the tag
// nearbus_faults: in all others [Switches] are empty, [Switches.Off] is a constant,
// and nothing of it is left in the compiled code.
package fault

// Mechanism is what can be taken out.
type Mechanism uint8

// The mechanisms.
const (
	Marks        Mechanism = iota // no value comes near that began before its key was invalidated
	CacheMark                     // nor before its cache was cleared
	TagMarks                      // nor before one of its tags was invalidated
	Clock                         // a value is compared with the clock of its cache
	Watermarks                    // and with the watermarks of its tags
	Lost                          // a watermark that is not there counts as raised just now
	Losses                        // and with what the shared tier is known to have lost
	Floors                        // and with what was given and not stored
	Overlaps                      // a refresh is compared with what was read and written meanwhile
	OwnWrites                     // an own write comes near only if nothing came between send and answer
	PassedNews                    // a value that is given and not kept ends older ones
	Removals                      // news takes the entry of its key out
	Joins                         // nobody joins a load that began before news
	Journal                       // the journal of the shared tier is read
	Confirmation                  // the shared tier is believed only once its journal was read
	Proofs                        // a read is believed only for what it proves
	Leases                        // one load for a key
	Barriers                      // a question is answered once everything before was applied
	Expectation                   // a refresh replaces only what it read
	Debts                         // what could not be delivered is kept
	Pauses                        // a refresh begins a pause after its value came near
)
