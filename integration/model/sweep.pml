// model: swept watermarks
// covers: one key with one tag on any servers: the tag clock, the watermark and what was swept, invalidations of two nodes at once that may be paused for as long as they like, a node that makes the watermark with a tag clock of before, a record that is stored long after its load, sweeps at any time, a reader that knows nothing
// omits: what nodes know and hear (tags.pml), leases (lease.pml), epochs (epochs.pml), age, on which nothing rests
// promises: G4: no reader is given a value that is older than an invalidation which returned before the read began
// small: SWEEPS=1 STORES=1 MAKES=1
// small: SWEEPS=2 STORES=1 MAKES=1
// full: SWEEPS=3 STORES=2 MAKES=2
// rule LEAST: a watermark that is written where none is gets the highest clock that was swept at least
// rule STEP: that clock is noted in the step that takes the watermark away
// rule GONE: a watermark that was swept counts as raised just now

#define max(a, b) ((a) > (b) -> (a) : (b))

byte source = 1;
byte clock = 1;   // the tag clock, on a server of its own
byte mark = 1;    // the watermark, 0: there is none
byte swept;       // on the server of the watermark: driver.Sweeper
byte version;     // of the record, 0: there is none
byte carries;     // the tag clock of the record
byte acked = 1;   // the version of the latest invalidation that returned

// write.lua, memstore.Store.step, where no watermark is.
inline anew(c) { mark = (LEAST -> max(c, swept) : c) }

// A caller of InvalidateTags, after the source was changed: Keyspace.raiseSlots.
proctype Writer(byte me) {
	byte v, c;
	atomic { source++; v = source; printf("node %d: changes the source to version %d\n", me, v) }
	atomic { clock++; c = clock; printf("node %d: raises the tag clock to %d\n", me, c) }
	atomic {
		if
		:: mark == 0 -> anew(c)
		:: else -> mark = max(mark, c)
		fi;
		printf("node %d: writes the watermark %d: it is %d\n", me, c, mark) }
	atomic { acked = max(acked, v); v = 0; c = 0; printf("node %d: InvalidateTags returns\n", me) }
}

// A load, whose record may be stored long after.
proctype Loader() {
	byte n, v, c;
	do
	:: n < STORES ->
		n++;
		atomic { c = clock; printf("a load: begins; it knows tag clock %d\n", c) }
		atomic { v = source; printf("a load: has version %d\n", v) }
		atomic { version = v; carries = c; printf("a load: stores version %d, which carries tag clock %d\n", v, c); v = 0; c = 0 }
	:: else -> break
	od;
	n = 0
}

// Whoever finds no watermark makes it: Records.makeWatermarks. The tag clock may be that of
// a server that was deposed.
proctype Maker() {
	byte n, c;
	do
	:: n < MAKES ->
		n++;
		atomic { c = clock; printf("a maker: reads the tag clock %d\n", c) }
		if
		:: atomic { mark == 0 -> anew(c); c = 0; printf("a maker: makes the watermark: it is %d\n", mark) }
		:: c = 0
		fi
	:: else -> break
	od;
	n = 0
}

// Records.Sweep
proctype Sweeper() {
	byte n, c;
	do
	:: n < SWEEPS ->
		n++;
		if
		:: atomic { mark != 0 && STEP -> swept = max(swept, mark); mark = 0; printf("a sweep: takes the watermark %d away\n", swept) }
		:: atomic { mark != 0 && !STEP -> c = mark; mark = 0; printf("a sweep: takes the watermark %d away\n", c) } // never: with the rule it is one step
			atomic { swept = max(swept, c); c = 0; printf("a sweep: notes that\n") } // never: likewise
		:: n = SWEEPS
		fi
	:: else -> break
	od;
	n = 0
}

// Records.ReadRecords, knowTags, on a node that has just started.
proctype Reader() {
	byte must, got, c, at;
end:
	atomic { version != 0; must = acked; printf("a reader: begins; the answer has to be %d at least\n", must) }
	atomic { got = version; c = carries; at = clock; printf("a reader: reads version %d, which carries tag clock %d; the tag clock is %d\n", got, c, at) }
	if
	:: c >= at
	:: atomic { c < at && mark != 0 && c >= mark -> printf("a reader: the watermark is %d\n", mark) }
	:: atomic { c < at && mark == 0 && !GONE -> printf("a reader: there is no watermark\n") } // never: the rule
	:: atomic { c < at && (mark == 0 && GONE || c < mark) -> printf("a reader: the version is dead\n"); goto over }
	fi;
	atomic { printf("a reader: gives version %d\n", got); assert(got >= must) }
over:
	atomic { must = 0; got = 0; c = 0; at = 0 }
}

init {
	atomic { run Writer(1); run Writer(2); run Loader(); run Maker(); run Sweeper(); run Reader() }
}
