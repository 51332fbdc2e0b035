// model: deadlines and debts
// covers: a write of node A that is given up, and lands late or never; an earlier write of A whose answer is late; writes of node B; attempts; what node A owes, and how it is paid
// omits: what comes near (ownwrites.pml), tags and Clear, which are owed in the same way, more debts than there is room for, writers that reach the shared tier in another order than the source
// promises: G1: after a write that failed, its node returns nothing older than the source was then; G4: once nothing is owed, the shared tier has nothing older than a write that returned nil; progress: in the end nothing is owed
// progress: settled
// small: OTHERS=1 READS=1 FAILURES=1
// full: OTHERS=3 READS=2 FAILURES=2
// rule DEADLINE: the server refuses a write whose deadline has passed
// rule ONCE: the write of a value is not sent again after the client gave it up
// rule OWED: what could not be delivered is owed: its key is read from the source until that is paid
// rule OPEN: what a failed write leaves is owed until the write cannot land any more
// rule STAND: a write that began before a debt does not settle it
// live AGAIN: what is owed is tried again until it is delivered

byte source = 1;   // the version in the source
byte record = 1;   // the version in the shared tier, 0: a tombstone
byte way;          // the version of a request that is on its way, 0: none
bool late;         // its deadline has passed
bool sends;        // the write of A that may be given up is under way
byte failed;       // the version of the write that failed
byte acked;        // the latest version of which a Set returned nil
byte own;          // the same of node A
bool owes;         // debts.suspect
bool open;         // debt.open is still to come
byte generation;   // debts.generation

// What is on its way lands, is refused or is lost: write.lua.
proctype Server() {
end:
	do
	:: atomic { way != 0 && !sends ->
		if
		:: !late || !DEADLINE -> record = way; printf("the server: a request that was given up lands: version %d\n", way)
		:: late && DEADLINE -> printf("the server: refuses a request that was given up\n")
		:: printf("the server: a request that was given up is lost\n")
		fi;
		way = 0
	}
	:: atomic { way != 0 && !sends && !late -> late = true; printf("the deadline of the request passes\n") }
	:: atomic { open && (late || way == 0) -> open = false; printf("node A: the request cannot land any more\n") }
	od
} // never: it waits for more

// A write of node A that is applied at once, and answered late: Cache.Set.
proctype Early() {
	byte moment, v;
end:
	atomic { !sends && failed == 0; moment = generation; source++; record = source; v = source; printf("node A: the source has version %d, and so has the shared tier; the answer is on its way\n", v) }
	atomic {
		own = (v > own -> v : own); acked = (v > acked -> v : acked);
		if
		:: owes && (generation == moment || !STAND) && !(open && OPEN) -> owes = false; printf("node A: Set of version %d returns nil, and settles the debt\n", v) // never: it began before the debt
		:: else -> printf("node A: Set of version %d returns nil\n", v)
		fi;
		moment = 0; v = 0
	}
}

// A write of node A that may be given up: Cache.Set, Tier.Write.
proctype Setter() {
	atomic { source++; way = source; sends = true; printf("node A: the source has version %d; its Set is sent\n", source) }
	if
	:: atomic { record = way; acked = way; own = way; way = 0; sends = false; printf("node A: Set of version %d returns nil\n", record) }
	:: atomic { !ONCE -> // never: with the rule it is not sent again
		record = way; acked = way; own = way; sends = false; printf("node A: the client gives the request up, and sends version %d again; Set returns nil\n", record) } // never: likewise
	:: atomic { true;
		failed = way; sends = false; generation++;
		printf("node A: the client gives the request up; Set of version %d fails\n", failed);
		if
		:: OWED -> owes = true; open = true
		:: else
		fi
	}
	fi
}

// Node B: Cache.Set. Writers of one key take turns.
proctype Other() {
	byte n;
end:
	do
	:: atomic { n < OTHERS && !sends -> n++; source++; record = source; acked = source; printf("node B: the source has version %d; its Set returns nil\n", source) }
	od
} // never: it waits for more

// A caller of Fetch on node A: Cache.look, Cache.load.
proctype Reader() {
	byte n, must, got;
	do
	:: n < READS ->
		n++;
		atomic {
			must = (failed > own -> failed : own);
			if
			:: owes || record == 0 -> got = source; printf("node A: reads version %d from the source\n", got)
			:: else -> got = record; printf("node A: reads version %d from the shared tier; it had to be %d at least\n", got, must)
			fi;
			assert(got >= must); // G1
			got = 0; must = 0
		}
	:: else -> break
	od;
	n = 0
}

// Node.payDebts, Cache.pay
proctype Payer() {
	byte moment, failures;
	bool tried;
end:
	do
	:: atomic { owes && !(open && OPEN) && moment == 0 && (AGAIN || !tried) -> tried = true; moment = generation;
		if
		:: failures < FAILURES -> failures++; moment = 0; printf("node A: what it owes cannot be delivered\n")
		:: true -> record = 0; printf("node A: pays what it owes: a tombstone\n")
		fi
	}
	:: atomic { moment != 0 -> owes = owes && (generation != moment || open && OPEN); moment = 0; printf("node A: owes %d\n", owes) }
	:: atomic { owes && tried && !AGAIN -> printf("node A: owes, and does not try again\n") } // never: with the rule it does
	od
} // never: it goes on for ever

// What holds at any moment.
proctype Watch() {
end:
	atomic { !owes && !sends && record != 0 && record < acked -> printf("the shared tier: has version %d, after a Set of version %d returned nil, and nobody owes anything\n", record, acked); assert(false) } // never: G4
} // never: nothing breaks the promise

ltl settled { <>[](!owes) }

init {
	atomic { run Watch(); run Server(); run Early(); run Setter(); run Other(); run Payer(); run Reader() }
}
