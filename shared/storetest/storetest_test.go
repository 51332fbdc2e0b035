package storetest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nearbus/nearbus/shared/driver"
	"github.com/nearbus/nearbus/shared/storetest"
)

func harness(fault func(*faulty)) storetest.Harness {
	return storetest.Harness{
		New: func() (driver.Store, error) { return newFaulty(fault), nil },
		Plant: func(_ context.Context, store driver.Store, key string, data []byte) error {
			store.(*faulty).Plant(key, data)
			return nil
		},
	}
}

// check runs the suite in a bubble and returns the failures by case.
func check(t *testing.T, h storetest.Harness) map[string]string {
	t.Helper()
	failures := map[string]string{}
	synctest.Test(t, func(t *testing.T) {
		err := storetest.Check(t.Context(), h)
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) {
			name, failure, _ := strings.Cut(strings.TrimSpace(line), ": ")
			failures[name] = failure
		}
	})
	return failures
}

func TestCheck_PassesWhatTheContractAllows(t *testing.T) {
	for name, fault := range map[string]func(*faulty){
		"no fault":             func(*faulty) {},
		"receipts without now": noTime,
	} {
		t.Run(name, func(t *testing.T) {
			assert.Empty(t, check(t, harness(fault)))
		})
	}
}

// TestCheck_PassesWhatTheHarnessDeclares takes away what a driver may not have.
func TestCheck_PassesWhatTheHarnessDeclares(t *testing.T) {
	h := harness(unordered)
	assert.NotEmpty(t, check(t, h))
	h.NoRevisions = true
	assert.Empty(t, check(t, h))
	h.Plant = nil
	assert.Empty(t, check(t, h))
}

func TestCheck_NamesTheViolatedCase(t *testing.T) {
	for name, c := range faults {
		t.Run(name, func(t *testing.T) {
			failures := check(t, harness(c.fault))
			for _, want := range c.cases {
				assert.Contains(t, failures, want)
			}
		})
	}
}

// TestCheck_EveryCaseFailsForAFault requires that no case is there for nothing.
func TestCheck_EveryCaseFailsForAFault(t *testing.T) {
	var want []string
	for _, c := range faults {
		want = append(want, c.cases...)
	}
	slices.Sort(want)
	all := check(t, storetest.Harness{
		New: func() (driver.Store, error) { return nil, errFailed },
		Plant: func(context.Context, driver.Store, string, []byte) error {
			return errFailed
		},
	})
	require.NotEmpty(t, all)
	for name := range all {
		assert.True(t, slices.Contains(want, name), name)
	}
}

// faults are the ways in which a store may be broken, and the cases that have
// to notice.
var faults = map[string]struct {
	fault func(*faulty)
	cases []string
}{
	"hides what was replaced":   {hidesReplaced, []string{"a lease tells what it replaced"}},
	"forgets deletes":           {forgetsDeletes, []string{"a lease carries on when its key was deleted"}},
	"deletes nothing":           {deletesNothing, []string{"delete leaves a tombstone", "delete ends a lease", "a tier over it sets, gets and deletes"}},
	"leaves no tombstone":       {deletesWithoutTombstone, []string{"delete leaves a tombstone"}},
	"keeps the first value":     {keepsFirst, []string{"overwrite"}},
	"takes empty for missing":   {emptyIsMissing, []string{"empty value"}},
	"knows text only":           {textOnly, []string{"binary value"}},
	"truncates":                 {truncates, []string{"large value"}},
	"promises too much":         {promisesTooMuch, []string{"large value"}},
	"allows too much":           {allowsTooMuch, []string{"too large value is refused"}},
	"loses the codec":           {losesCodec, []string{"record comes back as written"}},
	"loses the flags":           {losesFlags, []string{"record comes back as written"}},
	"loses the extension":       {losesExtension, []string{"record comes back as written"}},
	"keeps what it returned":    {keepsResult, []string{"what is read is the caller's"}},
	"keeps what it was given":   {keepsImage, []string{"what is written is not kept"}},
	"changes what it was given": {scribblesLater, []string{"what is written is not kept"}},
	"batches leave out missing": {batchSkipsMissing, []string{"batch read equals single reads"}},
	"batches lose duplicates":   {batchLosesDuplicates, []string{"batch read equals single reads"}},
	"batches fail together":     {batchFailsTogether, []string{"batch write equals single writes"}},
	"drops the end of a batch":  {batchesAreSmall, []string{"a thousand keys at once"}},
	"mixes up receipts":         {batchMixesReceipts, []string{"a thousand keys at once"}},
	"leases fail together":      {leasesFailTogether, []string{"batch of leases equals single ones"}},
	"drops the end of leases":   {leasesBatchesAreSmall, []string{"a thousand leases at once"}},
	"fills fail together":       {fillsFailTogether, []string{"batch fill equals single fills", "a thousand leases at once"}},
	"mixes up those of fills":   {fillsMixReceipts, []string{"a thousand leases at once"}},
	"panics of nothing to do":   {needsKeys, []string{"nothing to read, write or lease"}},
	"finds what is not there":   {neverMissing, []string{"missing key"}},
	"forgets":                   {forgets, []string{"set and read"}},

	"trims keys":                  {trims, []string{"odd keys are kept apart", "odd keys have leases of their own"}},
	"folds keys":                  {folds, []string{"odd keys are kept apart"}},
	"repairs keys":                {unicodeOnly, []string{"odd keys are kept apart"}},
	"ends keys at a zero":         {cString, []string{"odd keys are kept apart"}},
	"takes hash tags for keys":    {hashTag, []string{"odd keys are kept apart"}},
	"truncates keys to 250 bytes": {shortKeys, []string{"long keys are kept apart", "odd keys have leases of their own"}},

	"ignores the TTL":               {ignoresTTL, []string{"a value expires", "TTL below a second", "expiries are stamped by the server's clock"}},
	"counts whole seconds":          {wholeSeconds, []string{"TTL below a second", "a value does not expire too early"}},
	"rounds up to seconds":          {roundsUp, []string{"expiries are stamped by the server's clock"}},
	"takes a long TTL for a date":   {thirtyDays, []string{"TTL of more than 30 days"}},
	"takes zero for a second":       {zeroIsNow, []string{"TTL zero is no expiry"}},
	"stamps no soft expiry":         {noSoftExpiry, []string{"expiries are stamped by the server's clock"}},
	"keeps the first TTL":           {keepsFirstTTL, []string{"a new TTL replaces the old one"}},
	"lets values live half as long": {halves, []string{"a value does not expire too early", "a value expires"}},
	"stops its clock":               {stopsClock, []string{"time goes on"}},

	"tells no revision":                 {noRevision, []string{"revisions rise", "revisions differ", "watermarks rise"}},
	"tells another revision":            {receiptOff, []string{"receipt tells the revision that is stored"}},
	"counts in milliseconds":            {milliseconds, []string{"revisions rise", "revisions rise within a batch", "revisions differ", "concurrent writers"}},
	"counts watermarks coarsely":        {coarseWatermarks, []string{"watermarks rise", "concurrent writers of a watermark"}},
	"begins an epoch each time":         {newEpochs, []string{"revisions rise", "revisions rise across delete and refill"}},
	"counts watermarks from the record": {watermarksAnew, []string{"watermarks rise when they are lost"}},
	"keeps values for too long":         {lateExpiry, []string{"a value expires"}},
	"counts from the record":            {perRecord, []string{"revisions rise across expiry"}},
	"begins anew after a delete":        {deleteStartsAnew, []string{"revisions rise across delete and refill"}},
	"takes any clock":                   {takesAnyClock, []string{"a watermark keeps the higher clock", "concurrent watermarks keep the highest clock"}},
	"compares clocks as floats":         {clocksAsFloats, []string{"a watermark keeps the higher clock"}},
	"keeps every clock":                 {keepsEveryClock, []string{"only watermarks keep a clock"}},
	"ignores the floor":                 {noFloor, []string{"floor is the least revision", "watermarks rise", "watermarks rise from far ahead"}},
	"believes no clock of days ahead":   {dayAhead, []string{"watermarks rise from far ahead", "revision from far ahead is not carried on"}},
	"forgets how old a load is":         {agesAnew, []string{"a fill is as old as its load"}},
	"fills leases of earlier epochs":    {fillsAnyEpoch, []string{"a fill of an earlier epoch is refused"}},
	"believes any age":                  {agesBlindly, []string{"a fill is newer than what it replaced"}},
	"believes any revision":             {carriesOn, []string{"revision from far ahead is not carried on"}},
	"stores repeats":                    {noRepeat, []string{"repeated write keeps its revision", "a lease is filled once"}},
	"takes equal values for repeats":    {repeatByValue, []string{"repeat is known by its nonce alone", "revisions differ"}},
	"remembers nonces":                  {repeatForEver, []string{"overwritten write may be repeated"}},
	"ignores deadlines":                 {noDeadline, []string{"late write is refused", "batch write equals single writes"}},
	"ignores deadlines of leases":       {noDeadlineOfLeases, []string{"late write is refused"}},
	"stores late writes":                {lateStill, []string{"late write is refused"}},
	"judges deadlines too early":        {lateByCaller, []string{"deadline of a write is its own"}},

	"keeps no journal":               {keepsNoJournal, []string{"journal tells of every write in order", "tail from nowhere is a reset"}},
	"tells backwards":                {backwardsJournal, []string{"journal tells of every write in order", "tail goes on where it ended"}},
	"tells of no deletes":            {journalWithoutDeletes, []string{"journal tells of every write in order"}},
	"tells of trimmed keys":          {journalTrimsKeys, []string{"journal tells odd keys as they are"}},
	"tells no number in the journal": {tellsNoEntry, []string{"receipts tell the number in the journal"}},
	"tells of fills":                 {journalsFills, []string{"journal tells of no leases and fills"}},
	"tells of no fills":              {journalsNoFills, []string{"journal tells of the fills that say so"}},
	"tells of what it refused":       {journalsRefused, []string{"journal tells of nothing that was refused"}},
	"goes on from anywhere":          {neverResets, []string{"tail from nowhere is a reset", "tail from an entry that is not there is a reset"}},
	"stays where it was lost":        {resetsToFrom, []string{"tail from an entry that is not there is a reset", "tail goes on where it ended"}},
	"knows entries by number":        {knowsNumbersOnly, []string{"tail from an entry that is not there is a reset"}},
	"never says that there is more":  {neverMore, []string{"tail goes on where it ended", "journal tells of a batch"}},
	"answers about others":           {answersAboutOthers, []string{"journals are tailed together in order"}},
	"ignores the limit of a tail":    {ignoresLimit, []string{"tail goes on where it ended"}},
	"tails without the time":         {noTimeOfTail, []string{"tail at the end is empty"}},
	"enters what nobody wrote":       {endsMove, []string{"tail from nowhere is a reset", "tail at the end is empty"}},
	"moves partitions":               {movesPartitions, []string{"partition of a key does not change"}},
	"proves nothing":                 {provesNothing, []string{"reads tell how new the server is"}},
	"recalls the oldest first":       {recallsOldestFirst, []string{"recall tells of the newest writes first"}},
	"recalls without a limit":        {recallsAll, []string{"recall tells of the newest writes first"}},
	"loses entries in a race":        {losesRaced, []string{"journal misses no concurrent write"}},

	"grants twice":                    {grantsTwice, []string{"one holder of a lease", "concurrent requests for one lease"}},
	"grants in two steps":             {grantsRace, []string{"concurrent requests for one lease"}},
	"grants for ever":                 {leaseForEver, []string{"a lease ends by itself"}},
	"refuses the holder":              {refusesHolder, []string{"holder may ask again"}},
	"renews nothing":                  {renewsNothing, []string{"holder renews"}},
	"renews what ended":               {renewsAnything, []string{"renewal brings no lease back"}},
	"renews in two steps":             {renewsRace, []string{"renewal races a write"}},
	"grants over values":              {leasesValues, []string{"a live value is no lease"}},
	"keeps what is there to itself":   {presentWithoutImage, []string{"a live value is no lease", "a watermark is never leased"}},
	"takes a tombstone for a lease":   {tombstonesHold, []string{"a tombstone may be leased"}},
	"grants over watermarks":          {leasesWatermarks, []string{"a watermark is never leased"}},
	"ignores clocks":                  {noMinClock, []string{"a value of an old clock counts as absent", "a lease of an old clock counts as absent"}},
	"rounds clocks":                   {roundClock, []string{"a value of an old clock counts as absent", "a lease of an old clock counts as absent"}},
	"discards nothing":                {noDiscard, []string{"what is discarded counts as absent", "foreign bytes are leased when discarded", "damaged record is leased when discarded"}},
	"discards anything":               {discardsAnything, []string{"what came after the discarded stays"}},
	"grants over foreign bytes":       {leasesForeign, []string{"foreign bytes are not leased"}},
	"grants over a newer format":      {leasesNewer, []string{"newer format is left alone"}},
	"shows leases as values":          {leaseIsValue, []string{"a lease reads as no value"}},
	"reads foreign bytes as missing":  {hidesForeign, []string{"foreign bytes are read as they are"}},
	"writes over no foreign bytes":    {sparesForeign, []string{"foreign bytes may be overwritten"}},
	"takes foreign bytes for a lease": {fillsForeign, []string{"foreign bytes are no lease"}},

	"fills without a look":        {fillsUnchecked, []string{"fill without a lease is refused", "set ends a lease", "delete ends a lease"}},
	"fills any lease":             {fillsAnyLease, []string{"fill by another is refused", "fill after the lease went to another is refused", "concurrent fills of one lease"}},
	"fills what is absent":        {fillsAbsent, []string{"fill without a lease is refused", "fill after the tombstone expired is refused", "fill after the lease expired is refused"}},
	"fills tombstones":            {fillsTombstones, []string{"delete ends a lease"}},
	"keeps leases apart":          {leasesApart, []string{"set ends a lease", "delete ends a lease", "fill after the tombstone expired is refused"}},
	"fills in two steps":          {fillsRace, []string{"fill races a write"}},
	"fills nothing":               {fillsNothing, []string{"fill replaces its lease"}},
	"refuses to take leases back": {fillsValuesOnly, []string{"a lease may be given back"}},

	"replaces leases only":          {refreshesLeasesOnly, []string{"fill replaces the record expected"}},
	"replaces what is not expected": {refreshesAnything, []string{"fill is refused where another record is than expected"}},
	"replaces what is absent":       {refreshesAbsent, []string{"fill is refused where another record is than expected", "fill is refused after the expected expired"}},
	"replaces values only":          {refreshesValuesOnly, []string{"fill replaces the record expected"}},
	"replaces in two steps":         {refreshesRace, []string{"refresh races a write"}},
	"refuses repeated refreshes":    {refusesRepeats, []string{"fill that expects a record is repeated"}},
	"keeps no stale value":          {keepsNoStale, []string{"a stale value is kept", "a stale value is kept again"}},
	"keeps stale values once":       {keepsOnce, []string{"a stale value is kept again"}},
	"keeps stale values live":       {keepsLive, []string{"a stale value is kept", "fill is refused where another record is than expected"}},
	"keeps stale values anew":       {keepsAnew, []string{"a stale value keeps its expiry"}},
	"keeps what is deleted":         {keepsForGood, []string{"a stale value is kept again"}},
	"keeps what is no value":        {keepsWhatIsNoValue, []string{"keeping without a value is a delete"}},
	"keeps quietly":                 {keepsQuietly, []string{"keeping is journaled"}},
	"takes stale values for live":   {staleIsLive, []string{"a stale value may be leased"}},
	"leases what is not found":      {leasesNotFound, []string{"not found lives like a value"}},

	"forgets what it swept": {forgetsSwept, []string{
		"a watermark written late is no lower than what was swept", "a watermark made late is no lower than what was swept", "sweeps race writers of a watermark",
	}},
	"sweeps anything":                {sweepsAnything, []string{"a watermark that was raised is not swept"}},
	"sweeps nothing":                 {sweepsNothing, []string{"a swept watermark is gone"}},
	"takes what was swept for all":   {sweptIsAll, []string{"what was swept counts for no other record"}},
	"tells nothing of what it swept": {tellsNothingSwept, []string{"a swept watermark is gone"}},
	"touches nothing":                {touchesNothing, []string{"touch gives a later end"}},
	"touches any record":             {touchesAnything, []string{"touch of another record is refused"}},
	"touches by a write":             {touchesByWriting, []string{"touch changes nothing else", "touch keeps the revision"}},
	"touches in two steps":           {touchesInTwoSteps, []string{"touch races a write"}},
	"takes a touch for the end":      {touchesTheEnd, []string{"touch gives no earlier end"}},
	"touches the hard expiry":        {touchesHardExpiry, []string{"touch moves both expiries"}},
	"touches what has ended":         {touchesWhatEnded, []string{"touch brings nothing back"}},
	"touches too late":               {touchesLate, []string{"late touch is refused"}},
	"journals touches":               {journalsTouches, []string{"touch is not journaled"}},
	"touches fail together":          {touchesFailTogether, []string{"batch touch equals single touches"}},

	"ignores contexts":            {ignoresContext, []string{"cancelled context", "expired context"}},
	"hides how a context ended":   {hidesContext, []string{"cancelled context", "expired context"}},
	"writes for an ended context": {answersLate, []string{"cancelled context", "expired context"}},
	"fails when used at once":     {failsWhenOverlapping, []string{"concurrent writers"}},
}
