// model: repair and horizon
// covers: the journal of one partition, which is trimmed and may be lost; messages that are lost, late or doubled; rounds that read pages, fail and find that continuity is lost; the trust of one node
// omits: losses of writes (epochs.pml), clocks and tags (tags.pml), own writes (ownwrites.pml), several partitions, each of which goes by its own horizon
// promises: G4: nothing is served that is older than a write which was acknowledged before the last whole round began, or longer than MaxStaleness ago; progress: when faults end, the node is trusted again
// progress: back
// small: READS=1 WRITES=2 FAILURES=1 LOSSES=0 SCRIPTS=0 JOURNAL=3
// small: READS=1 WRITES=2 FAILURES=0 LOSSES=1 SCRIPTS=0 JOURNAL=1
// small: READS=1 WRITES=1 FAILURES=0 LOSSES=0 SCRIPTS=1 JOURNAL=3
// full: READS=2 WRITES=2 FAILURES=1 LOSSES=1 SCRIPTS=0 JOURNAL=2
// full: READS=1 WRITES=2 FAILURES=1 LOSSES=0 SCRIPTS=1 JOURNAL=2
// rule APPLIED: what the journal tells takes entries out, and fences reads under way
// rule HORIZON: the horizon moves to when the last read of the journal began
// rule END: the horizon moves only when the journal was read to its end
// rule FAILED: a round that failed moves no horizon
// rule TRUST: an entry is served while the horizon is no further back than MaxStaleness
// rule INCLUSIVE at 2: a read of the journal begins with the last entry seen, which must be there
// rule FLUSH: where the journal cannot be read on, everything near is flushed
// rule LEARN: the end of the journal is learned before that flush
// rule FIRST at 3: a write enters the journal before it changes the record
// live ANEW at 2: where the journal cannot be read on, the node goes on from its end

// JOURNAL is how many entries the journal keeps. A read returns PAGE of them.
#define PAGE 1
#define MAX_AGE 1 // MaxStaleness, in ticks

byte record = 1;     // the revision of the record in the shared tier
byte last = 1;       // the revision of the latest entry of the journal; each revision has one
byte missing;        // but this one
byte other;          // nor is this one of the key
byte first = 1;      // the oldest entry that is there
byte acked = 1;      // the latest write that was acknowledged
byte before[2];      // acked as it was when the clock ticked last, and one tick earlier
byte near;           // the revision of the entry, 0: there is none
bool fenced[READS];  // a mark was raised since the read began
bool reads[READS];
byte position;       // repairer.positions; 0: none yet
byte horizon;        // how many ticks ago it is; more than MAX_AGE: too far back
byte began;          // how many ticks ago the last read of the journal began
bool round;          // a round is under way
bool slow;           // and the clock has ticked since
byte start;          // acked, as it was when the round began
byte sure;           // the same of the last whole round
bool told[6];        // messages on their way

#define trusted (!TRUST || horizon <= MAX_AGE)

inline fence() {
	d_step {
		for (r : 0 .. READS - 1) {
			if
			:: reads[r] -> fenced[r] = true
			:: else
			fi
		}
		r = 0
	}
}

inline apply(n) { // Space.Apply
	if
	:: near >= n -> fence() // the entry contains it
	:: else -> fence(); near = 0
	fi
}

// A caller of Get: Space.Find, Cache.look, Space.Install. What is near is looked at by Watch.
proctype Reader(byte me) {
	byte got;
	atomic { reads[me] = true; printf("reader %c: begins a read\n", 65 + me) }
	atomic { got = record; printf("reader %c: reads revision %d from the shared tier\n", 65 + me, got) }
	atomic {
		if
		:: !fenced[me] && near <= got -> near = got; printf("reader %c: puts revision %d near\n", 65 + me, got)
		:: else -> printf("reader %c: revision %d does not come near\n", 65 + me, got)
		fi;
		reads[me] = false; fenced[me] = false; got = 0
	}
}

inline append() { // XADD MAXLEN
	last++;
	first = (last - first >= JOURNAL -> last - JOURNAL + 1 : first)
}

// Another node: write.lua. Its message may be lost.
proctype Writer() {
	byte n;
	do
	:: n < WRITES ->
		n++;
		if
		:: atomic { append(); record = last; acked = last; told[last] = true; printf("another node: writes revision %d, which is acknowledged\n", last) }
		:: SCRIPTS != 0 && FIRST ->
			atomic { append(); printf("another node: its script enters revision %d into the journal, and fails\n", last) }
			atomic { append(); record = last; acked = last; told[last] = true; printf("another node: the write is repeated as revision %d, which is acknowledged\n", last) }
		:: SCRIPTS != 0 && !FIRST -> // never: with the rule the journal comes first
			atomic { missing = last + 1; last++; record = last; printf("another node: its script stores revision %d, and fails before the journal\n", last) } // never: likewise
			atomic { acked = record; printf("another node: the write is repeated; it is there already, and acknowledged\n") } // never: likewise
		fi
	:: else -> break
	od;
	n = 0
}

// repairer.round
proctype Repair() {
	byte failures, from, to, n, r;
	bool reset, failed;
end:
	do
	:: atomic { round = true; slow = false; start = acked; began = 0; failed = false; reset = false; printf("the node: begins a round\n") }
page:
		if
		:: atomic { failures < FAILURES -> failures++; failed = true; printf("the node: the journal cannot be read\n") }
		:: atomic { true; // tail.lua and XRANGE, one request
			began = 0;
			if
			:: position != 0 && (position >= first && position != missing || !INCLUSIVE) ->
				from = (position + 1 > first -> position + 1 : first);
				to = (from + PAGE - 1 < last -> from + PAGE - 1 : last);
				printf("the node: reads the journal from %d to %d; it ends with %d\n", from, to, last);
				position = (to > position -> to : position)
			:: else ->
				if
				:: position == 0 || ANEW ->
					reset = true; from = 1; to = 0;
					if
					:: LEARN -> printf("the node: the entry %d of the journal is not there: the node goes on from the end, %d\n", position, last); position = last
					:: else -> printf("the node: the journal cannot be read on\n") // never: with the rule the end is learned here
					fi
				:: else -> failed = true; from = 1; to = 0; printf("the node: the entry %d of the journal is gone\n", position) // never: with the rule it goes on
				fi
			fi
		}
		fi;
		if
		:: !failed && !reset ->
			atomic { // repairer.take
				do
				:: from <= to && from != missing && from != other && APPLIED -> apply(from); printf("the node: applies entry %d\n", from); from++
				:: from <= to && (from == missing || from == other || !APPLIED) -> from++
				:: else -> break
				od;
				from = 0; to = 0
			}
			if
			:: atomic { position < last && END -> printf("the node: there is more\n") } goto page
			:: atomic { !(position < last && END) -> skip }
			fi
		:: else
		fi;
		if
		:: reset && FLUSH -> atomic { near = 0; fence(); printf("the node: flushes what is near\n") }
		:: else
		fi;
		if
		:: reset && !LEARN -> atomic { position = last; printf("the node: goes on from the end of the journal, %d\n", last) } // never: with the rule it was learned before
		:: else
		fi;
		atomic {
			if
			:: !failed || !FAILED ->
				horizon = (HORIZON -> began : 0); sure = start;
				printf("the node: the round is whole: the horizon is %d ticks back\n", horizon)
			:: else -> printf("the node: the round failed\n")
			fi;
			round = false; slow = false; start = 0; began = 0; reset = false; failed = false; from = 0; to = 0
		}
	od
} // never: it goes on for ever

// The bus: a message is applied at any time, once or twice, or never.
proctype Bus() {
	byte n, r;
end:
	do
	:: atomic { told[2] -> n = 2;
heard:
		apply(n); printf("the bus: tells of revision %d\n", n);
		if
		:: told[n] = false
		:: true // it will come again
		fi;
		n = 0
	}
	:: atomic { told[3] -> n = 3; goto heard }
	od
} // never: it goes on for ever

// The clock. Servers answer within a tick, unless a round fails.
proctype Clock() {
end:
	do
	:: atomic { !slow ->
		slow = round;
		before[1] = before[0]; before[0] = acked;
		horizon = (horizon <= MAX_AGE -> horizon + 1 : horizon);
		began = (round -> began + 1 : 0);
		printf("the clock: a tick\n")
	}
	od
} // never: it goes on for ever

// The journal is evicted, or its server restarts without it: the next write begins another.
proctype Loss() {
	byte n;
end:
	do
	:: atomic { n < LOSSES && first <= last -> n++; last++; first = last; other = last; printf("the journal is lost: another begins with entry %d\n", last) }
	od
} // never: it goes on for ever

// A reader who comes at any moment.
proctype Watch() {
end:
	if
	:: atomic { near != 0 && trusted && near < sure -> printf("a reader that comes now: finds %d near; %d was acknowledged before the last whole round began\n", near, sure); assert(false) } // never: G4
	:: atomic { near != 0 && trusted && near < before[1] -> printf("a reader that comes now: finds %d near; %d was acknowledged longer ago than MaxStaleness\n", near, before[1]); assert(false) } // never: G4
	fi
} // never: nothing breaks the promise

ltl back { []<>(horizon <= MAX_AGE) }

init {
	byte n;
	atomic {
		before[0] = 1; before[1] = 1;
		run Watch(); run Clock(); run Bus(); run Loss(); run Repair(); run Writer();
		for (n : 0 .. READS - 1) { run Reader(n) }
		n = 0
	}
}
