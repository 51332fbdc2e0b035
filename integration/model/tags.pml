// model: tags and clocks
// covers: one key with one tag: the tag clock, the watermark, invalidations by this node or another, loads, reads, what the node knows, messages that are lost, a watermark that is lost. Clear is the same with a watermark that all values share
// omits: leases (lease.pml), trust in time (repair.pml), epochs (epochs.pml), other tags of the slot, joining, which compares the same numbers
// promises: G1, G3, G4, G5: nothing is given, near or from the shared tier, that is older than an invalidation which this node made, of which it applied news, or which returned before its last whole round began; nor, from the shared tier while it cannot hear, than any that returned
// small: OWN=0 DROPS=1 READERS=1 LOSE=0 EVICT=0 DIES=0
// small: OWN=1 DROPS=1 READERS=1 LOSE=0 EVICT=0 DIES=0
// small: OWN=0 DROPS=1 READERS=1 LOSE=1 EVICT=1 DIES=0
// small: OWN=0 DROPS=2 READERS=1 LOSE=0 EVICT=1 DIES=1
// full: OWN=0 DROPS=2 READERS=1 LOSE=1 EVICT=1 DIES=1
// full: OWN=1 DROPS=2 READERS=1 LOSE=1 EVICT=1 DIES=0
// rule BEFORE: a value carries the tag clock as it was known before its load began
// rule RAISE: every invalidation raises the tag clock, and its watermark is the clock that it raised
// rule ORDER at 4: the tag clock is raised before the watermark
// rule MARK: news of the tag ends what is near, and fences what is on its way
// rule AGAIN at 2: the mark of the tag is raised again when the invalidation is answered
// rule JUDGE: a record is compared with the watermark of its tag
// rule HEARS: a watermark that is known is not relied on while the node cannot hear
// rule ADMITS: a value is compared with the watermark once more when it comes near
// rule NOTED: that a value comes near is noted before that comparison: a watermark that rises then raises the mark
// rule LOST at 3: a watermark that is not there counts as raised just now

#define max(a, b) ((a) > (b) -> (a) : (b))
#define FLIGHTS (READERS + 1) // the last is the load

byte source = 1;
byte clock = 1;      // the tag clock in the shared tier
byte mark = 1;       // the watermark there, 0: there is none
byte version;        // of the record, 0: there is none
byte carries;        // the tag clock of the record
byte acked = 1;      // the version of the latest invalidation that returned
byte journal;        // the watermark of the latest entry of the journal

// The node: tagTable, near.Space.
byte near;           // the version that is near
byte knownClock = 1; // tagTable.clock
byte knownMark = 1;  // slotState.watermark
byte read = 1;       // slotState.revision, by the watermark that was read with it
bool known = true;   // slotState.known
bool noted;          // slotState.near
bool hears = true;   // Node.hears
bool fenced[FLIGHTS];
bool flies[FLIGHTS];
bool forgot[FLIGHTS]; // something was forgotten since the flight began
byte least = 1;      // what nothing may be older than that this node gives
byte told;           // the version that a message on its way stands for
byte toldMark;

inline invalidate() { // Space.InvalidateSlots
	d_step {
		near = 0;
		for (f : 0 .. FLIGHTS - 1) {
			if
			:: flies[f] -> fenced[f] = true
			:: else
			fi
		}
		f = 0
	}
}

inline forget() { // tagTable.forget
	d_step {
		known = false; noted = false;
		for (f : 0 .. FLIGHTS - 1) {
			if
			:: flies[f] -> forgot[f] = true
			:: else
			fi
		}
		f = 0
	}
}

inline learn(w) { // tagTable.learnSlots, Cache.raiseMarks
	if
	:: w > knownMark && noted -> noted = false; knownMark = w; invalidate(); printf("the node: reads that the watermark is %d by now: what is near goes\n", w)
	:: w > knownMark && !noted -> knownMark = w; printf("the node: reads that the watermark is %d by now; nothing is near that it may end\n", w)
	:: else
	fi;
	read = max(read, w); knownClock = max(knownClock, w); known = known || !forgot[me]
}

inline install(v, c) { // Cache.arrive, Space.Install
	if
	:: !fenced[me] && (c >= knownMark || !ADMITS) -> near = v; printf("the node: puts version %d near\n", v)
	:: else -> printf("the node: version %d does not come near\n", v)
	fi;
	flies[me] = false; fenced[me] = false; forgot[me] = false
}

inline begin() { flies[me] = true; fenced[me] = false; forgot[me] = false }

// Cache.look: readRecords, knowTags, tagsLive.
proctype Reader(byte me) {
	byte must, got, c, at, f;
end:
	atomic { near == 0 || !hears; version != 0;
		must = (hears -> least : acked); begin(); printf("the node: begins a read; the answer has to be %d at least\n", must) }
	atomic { got = version; c = carries; at = clock; printf("the node: reads version %d, which carries tag clock %d; the tag clock is %d\n", got, c, at) }
	if
	:: atomic { c < at && (!known || !hears && HEARS) ->
		if
		:: mark == 0 && LOST -> mark = clock; printf("the node: the watermark is not there, and made anew as %d\n", mark)
		:: else
		fi;
		learn(mark) }
	:: atomic { !(c < at && (!known || !hears && HEARS)) -> knownClock = max(knownClock, (hears -> knownClock : at)) }
	fi;
	atomic { // tagTable.judge
		if
		:: c >= knownMark || !JUDGE -> noted = noted || NOTED
		:: else -> printf("the node: version %d is dead: the watermark is %d\n", got, knownMark); got = 0; flies[me] = false; fenced[me] = false; forgot[me] = false; goto over
		fi
	}
	atomic { install(got, c) }
	atomic { printf("the node: gives version %d\n", got); assert(got >= must) }
over:
	atomic { got = 0; must = 0; c = 0; at = 0 }
}

// A load under a lease: ReadyTagClock, loadAll, commit.
proctype Loader(byte me) {
	byte loaded, c, f;
end:
	atomic { near == 0; c = knownClock; begin(); printf("the node: begins a load; it knows tag clock %d\n", c) }
	atomic { loaded = source; printf("the node: loads version %d from the source\n", loaded) }
	atomic {
		c = (BEFORE -> c : clock);
		version = loaded; carries = c; printf("the node: fills the record with version %d, which carries tag clock %d\n", loaded, c)
	}
	atomic { noted = noted || NOTED }
	atomic { install(loaded, c); loaded = 0; c = 0 }
}

// A caller of InvalidateTags, after the source was changed: Cache.dropTags, raiseSlots.
proctype Writer() {
	byte n, c, v, f;
	do
	:: n < DROPS ->
		n++;
		atomic { source++; v = source; printf("the source: version %d\n", v);
			if
			:: OWN -> invalidate(); printf("the node: InvalidateTags raises the mark\n")
			:: else
			fi
		}
		if
		:: atomic { ORDER -> // Cache.advanceTagClock
			clock = (RAISE -> clock + 1 : clock); c = clock; printf("the tag clock: rises to %d\n", c) }
		:: atomic { !ORDER -> // never: with the rule the clock comes first
			c = clock + 1; mark = max(mark, c); journal = mark; printf("the watermark: rises to %d\n", mark) } // never: likewise
		fi;
		if
		:: atomic { DIES != 0 && n == 1 -> printf("the writer dies\n"); goto next }
		:: true
		fi;
		if
		:: atomic { ORDER -> mark = max(mark, c); journal = mark; printf("the watermark: rises to %d\n", mark) }
		:: atomic { !ORDER -> clock = max(clock, c); printf("the tag clock: rises to %d\n", clock) } // never: likewise
		fi;
		atomic {
			acked = v; told = v; toldMark = c;
			if
			:: OWN ->
				told = 0; toldMark = 0; knownClock = max(knownClock, c); knownMark = max(knownMark, c); read = max(read, c); least = v; forget();
				if
				:: AGAIN -> invalidate()
				:: else
				fi
			:: else
			fi;
			printf("InvalidateTags for version %d returns nil\n", v)
		}
next:
		atomic { c = 0; v = 0 }
	:: else -> break
	od;
	n = 0
}

// The bus and the journal; what is lost; the policy.
proctype World() {
	byte lost, evicted, cuts, f;
end:
	do
	:: atomic { told != 0 && hears -> // Cache.applyTag
		forget();
		if
		:: MARK -> invalidate()
		:: else
		fi;
		least = max(least, told); printf("the bus: tells that the tag was invalidated for version %d\n", told); told = 0; toldMark = 0 }
	:: atomic { told != 0 -> told = 0; toldMark = 0; printf("the message is lost\n") }
	:: atomic { least < acked || !hears -> // repairer.round, Cache.repairSlot
		if
		:: journal > read ->
			forget(); knownClock = max(knownClock, clock);
			if
			:: MARK -> invalidate()
			:: else
			fi;
			read = journal; printf("the node: a round: the journal tells that the tag was invalidated\n")
		:: else -> printf("the node: a round: what the journal tells was read before, and is skipped\n")
		fi;
		least = max(least, acked); hears = true }
	:: atomic { cuts < 1 && hears -> cuts++; hears = false; printf("the node: cannot hear any more\n") }
	:: atomic { lost < LOSE && mark > 1 -> lost++; mark = 0; printf("the shared tier: loses the watermark\n") }
	:: atomic { evicted < EVICT && near != 0 -> evicted++; near = 0; printf("the policy takes the entry out\n") }
	od
} // never: it goes on for ever

// What holds at any moment.
proctype Watch() {
end:
	atomic { near != 0 && hears && near < least -> printf("a reader that comes now: finds version %d near; it had to be %d at least\n", near, least); assert(false) } // never: the promise
} // never: nothing breaks the promise

init {
	byte n;
	atomic {
		run Watch(); run World(); run Writer(); run Loader(READERS);
		for (n : 0 .. READERS - 1) { run Reader(n) }
		n = 0
	}
}
