// model: own writes
// covers: stamps and marks of one key on one node: reads, own writes, news of others, refreshes, evictions, flushes, and reads that join none under way, in any order
// omits: tags and the clock of the cache (tags.pml), loads (lease.pml), epochs (epochs.pml), what a failed write owes (owed.pml), other keys of the stripe
// promises: G1, G2, G3: a read never returns less than an own write that returned nil before it began, than news that its node applied before, or than another read that ended before
// small: READERS=2 OWN=1 REMOTE=1 REFRESH=0 EVICT=1 START=1 BOUNDED=0
// small: READERS=2 OWN=0 REMOTE=1 REFRESH=1 EVICT=1 START=0 BOUNDED=0
// small: READERS=3 OWN=1 REMOTE=0 REFRESH=0 EVICT=1 START=0 BOUNDED=0
// small: READERS=2 OWN=0 REMOTE=1 REFRESH=0 EVICT=1 START=0 BOUNDED=1
// full: READERS=3 OWN=1 REMOTE=1 REFRESH=0 EVICT=1 START=1 BOUNDED=0
// full: READERS=3 OWN=1 REMOTE=1 REFRESH=0 EVICT=1 START=0 BOUNDED=1
// full: READERS=2 OWN=1 REMOTE=1 REFRESH=1 EVICT=1 START=1 BOUNDED=0
// full: READERS=1 OWN=2 REMOTE=1 REFRESH=0 EVICT=1 START=1 BOUNDED=0
// rule MARKS: a value whose read began before its key was invalidated does not come near
// rule REMOVE: news takes the entry of its key out
// rule CLEAR: a look compares the entry with the mark of the cache, which a flush raises
// rule JOIN: nobody joins a read that began before news which the node has applied
// rule PASS: a value that is given to callers and kept out by a mark ends older ones
// spare BEFORE: an own write raises the mark, and takes the entry out, before it is sent
// why BEFORE: no guarantee is about what is served while a write is under way, and AGAIN takes out before Set returns whatever was there or came meanwhile. In the code ALONE rests on it: Write.mark is the mark that Space.begin raised. That the copy of before is not served meanwhile is shown by `TestG1_SetMany` and `TestWrite`
// rule AGAIN: an own write raises the mark again when it is answered
// rule ALONE: an own write comes near only if the mark of its key is still the one that it raised
// rule SEEN: an own write comes near only if no later write was heard of or read meanwhile
// rule FIRST: the entry of an own write keeps the stamp of before it was sent
// rule ECHO: the echo of an own write is skipped only while a write is unanswered, or where the entry contains it
// rule OVERLAP at 2: a refresh comes near only if nothing that it may be older than was read meanwhile
// rule FENCE at 2: a refresh that brings another value raises the mark: reads under way do not come near
// rule SELF at 3: a flight that ends takes out itself, and nobody else's flight
// rule APART at 4: a read that joins none under way fences that
// spare ORDER: an entry never replaces a higher revision
// why ORDER: it never has anything to decide, so the search visits as many states without it. Of two reads one is fenced (MARKS, APART), a refresh meets OVERLAP and FENCE, an own write ALONE and SEEN. In the code it is the comparison of revisions in Space.putLocked, which stands behind these (`TestInstall`)

#define max(a, b) ((a) > (b) -> (a) : (b))
#define letter(n) (65 + (n))
#define NONE 255
#define bounded(me) (BOUNDED && (me) == READERS - 1) // Lookup with FromShared, or with a token

// Who holds a stamp: a flight of each reader, each own write, the refresh, the entry.
#define WRITER(n) (READERS + (n))
#define REFRESHER (READERS + OWN)
#define ENTRY (READERS + OWN + REFRESH)
#define HOLDERS (ENTRY + 1)

// The code compares counts: a stamp with the mark of the key and with the mark of the
// cache. All that matters is which of these was raised since, so that is what is here.
#define FRESH 1
#define MARKED 2  // the mark of the key was raised since
#define CLEARED 4 // the mark of the cache was
byte stamp[HOLDERS]; // near.Stamp, near.Write.mark; 0: nobody holds it

byte shared = 1;     // the record in the shared tier: its revision, which names its value
byte known;          // stripe.known: what reads that began since the mark find at least
byte entry = START;     // the revision of the entry in the index, 0: there is none
bool unanswered[OWN + 1]; // the own write is linked into stripe.writes
byte seen[OWN + REFRESH + 1]; // near.Write.seen, of own writes and of the refresh
byte flight = NONE;  // the flight in flightShard.m that others may join: its reader
byte brought[READERS]; // what a flight found, once it is over; 0 before
byte landed[OWN + 1]; // the revision of an own write that was applied and not yet told of
bool late[OWN + 1];  // an own write that was given up may still be applied
byte started;        // readers that have begun, in their order
byte least = 1;      // what a read that begins now must not be behind

// Each step of a process is one hold of a lock of the code, or one request to the shared
// tier.

inline raise(found) { // stripe.raiseLocked
	d_step {
		for (h : 0 .. HOLDERS - 1) {
			if
			:: stamp[h] -> stamp[h] = stamp[h] | MARKED
			:: else
			fi
		}
		h = 0;
		known = max(known, found)
	}
}

inline flush() { // Node.flush, Space.Clear
	d_step {
		for (h : 0 .. HOLDERS - 1) {
			if
			:: stamp[h] -> stamp[h] = stamp[h] | CLEARED
			:: else
			fi
		}
		h = 0
	}
}

inline note(r) { // stripe.noteLocked
	d_step {
		for (h : 0 .. OWN + REFRESH - 1) {
			if
			:: stamp[READERS + h] -> seen[h] = max(seen[h], r)
			:: else
			fi
		}
		h = 0
	}
}

#define cleared(h) ((stamp[h] & CLEARED) != 0)
#define marked(h) ((stamp[h] & MARKED) != 0)
#define live (entry != 0 && (!CLEAR || !cleared(ENTRY))) // Space.Find, Space.passesMark
#define fenced(h) (MARKS && marked(h) || cleared(h)) // Space.fencedLocked
#define pending (unanswered[0] || OWN == 2 && unanswered[OWN - 1]) // Space.Apply: an own write is unanswered
#define beaten(r) (ORDER && entry > (r) && !cleared(ENTRY)) // Space.putLocked: a higher revision is there

inline put(r, s) { entry = r; stamp[ENTRY] = s } // Space.putLocked
inline remove() { entry = 0; stamp[ENTRY] = 0 }  // Tier.removeLocked

inline apply(r, own) { // Space.Apply
	if
	:: own && (!ECHO || entry >= r || pending) ->
		printf("the bus: the echo of revision %d is skipped\n", r);
		note(r)
	:: else ->
		raise(0);
		if
		:: entry >= r -> printf("bus or journal: tells of revision %d: the mark is raised; the entry %d contains it and stays\n", r, entry)
		:: else ->
			printf("bus or journal: tells of revision %d: the mark is raised; the entry, %d, goes\n", r, entry);
			if
			:: REMOVE -> remove()
			:: else
			fi
		fi
	fi;
	if
	:: own && pending // its answer decides
	:: else -> least = max(least, r)
	fi
}

// A caller of Get: Space.Find, Cache.board, Cache.look, Cache.arrive with wayRecord, Cache.land.
proctype Reader(byte me) {
	byte must, got, f, h;
	atomic {
		started == me -> started++;
		must = least;
		if
		:: bounded(me) -> printf("reader %c: is to read the shared tier\n", letter(me))
		:: !bounded(me) && live -> got = entry; printf("reader %c: finds %d near\n", letter(me), got); goto done
		:: else -> printf("reader %c: finds nothing near\n", letter(me))
		fi
	}
	atomic { // Cache.boardSince, under the lock of the shard
		if
		:: flight != NONE && !bounded(me) && (!JOIN || stamp[flight] == FRESH) ->
			f = flight;
			printf("reader %c: joins the read of reader %c\n", letter(me), letter(f))
		:: else ->
			if
			:: !bounded(me) && live -> got = entry; printf("reader %c: finds %d near by now\n", letter(me), got); goto done
			:: else ->
				if
				:: APART && flight != NONE && stamp[flight] == FRESH -> raise(0); remove(); printf("reader %c: joins no read that began before, and fences it\n", letter(me))
				:: else
				fi;
				f = me; flight = me; stamp[me] = FRESH; printf("reader %c: begins a read\n", letter(me))
			fi
		fi
	}
	if
	:: f != me -> atomic { brought[f] != 0 -> got = brought[f]; goto done }
	:: else
	fi;
	atomic { got = shared; printf("reader %c: reads revision %d from the shared tier\n", letter(me), got) }
	atomic { // Space.Install
		note(got);
		if
		:: fenced(me) ->
			printf("reader %c: the mark was raised since: revision %d does not come near\n", letter(me), got);
			if
			:: PASS && known < got && entry < got -> raise(got); remove() // Space.passLocked
			:: else
			fi
		:: !fenced(me) && !beaten(got) -> put(got, stamp[me]); printf("reader %c: puts revision %d near\n", letter(me), got)
		:: !fenced(me) && beaten(got) -> printf("reader %c: a higher revision is near\n", letter(me)) // never: what is near has fenced whoever may bring less, see why ORDER
		fi
	}
	atomic { // Cache.land
		brought[me] = got; stamp[me] = 0;
		if
		:: flight == me || !SELF && flight != NONE -> flight = NONE
		:: else
		fi
	}
done:
	atomic {
		printf("reader %c: returns %d; it had to be %d at least\n", letter(me), got, must);
		assert(got >= must); // G1, G2, G3
		least = max(least, got);
		got = 0; must = 0; f = 0
	}
}

// A caller of Set: Space.Begin, Tier.Write, Write.Finish or Write.Abort.
proctype Writer(byte me) {
	byte mine, kept, h;
	bool alone;
	atomic { // Space.Begin
		if
		:: BEFORE -> raise(0); remove()
		:: else
		fi;
		stamp[WRITER(me)] = FRESH; unanswered[me] = true;
		printf("writer %c: begins\n", letter(me))
	}
	if
	:: atomic { shared++; landed[me] = shared; mine = shared; printf("writer %c: the server applies its write as revision %d\n", letter(me), mine) }
	:: skip // it is on its way, and may be applied later or never
	fi;
	atomic { // Write.Finish; with an error, Write.Abort
		unanswered[me] = false;
		alone = (!ALONE || !marked(WRITER(me))) && (!SEEN || seen[me] <= mine);
		seen[me] = 0;
		if
		:: AGAIN -> raise(mine); remove()
		:: else
		fi;
		if
		:: mine != 0 && alone && !beaten(mine) ->
			printf("writer %c: the answer: revision %d comes near\n", letter(me), mine);
			kept = FRESH;
			if
			:: FIRST && cleared(WRITER(me)) -> kept = FRESH | CLEARED
			:: else
			fi;
			put(mine, kept); kept = 0
		:: mine != 0 && (!alone || beaten(mine)) -> printf("writer %c: the answer: revision %d does not come near\n", letter(me), mine)
		:: mine == 0 -> late[me] = true; printf("writer %c: gives up: an error, nothing comes near\n", letter(me))
		fi;
		stamp[WRITER(me)] = 0; alone = false
	}
	atomic {
		if
		:: mine != 0 -> least = max(least, mine); printf("writer %c: Set returns nil\n", letter(me))
		:: else
		fi;
		mine = 0
	}
}

// Cache.refreshSoon: Space.BeginRefresh, Cache.use, Write.Refresh, Write.EndRefresh. It
// runs beside the flights of its key.
proctype Refresh() {
	byte got, h;
	bool placed, other;
	atomic { stamp[REFRESHER] = FRESH; printf("a refresh: begins\n") }
	atomic { got = shared; printf("a refresh: reads revision %d from the shared tier\n", got) }
	atomic { // Write.Refresh
		placed = !fenced(REFRESHER) && (!OVERLAP || seen[OWN] <= got) && !beaten(got);
		other = placed && entry != got;
		if
		:: placed -> put(got, stamp[REFRESHER]); printf("a refresh: puts revision %d near\n", got)
		:: else -> printf("a refresh: revision %d does not come near\n", got)
		fi;
		stamp[REFRESHER] = 0; seen[OWN] = 0;
		if
		:: other && FENCE -> raise(got); stamp[ENTRY] = FRESH | (stamp[ENTRY] & CLEARED)
		:: else
		fi;
		note(got);
		got = 0; placed = false; other = false
	}
}

// What others do, and the policy: each is one step.
proctype World() {
	byte writes, evictions, i, h;
	bool told[6]; // of a revision of another node
end:
	do
	:: atomic { writes < REMOTE -> writes++; shared++; told[shared] = true; printf("another node: writes revision %d\n", shared) }
	:: atomic { // Cache.apply, Cache.repair
		told[2] -> i = 2;
told_of:
		told[i] = false;
		if
		:: apply(i, false)
		:: flush(); least = max(least, i); printf("the message of revision %d is lost, and missed: everything near is flushed\n", i) // Node.gap
		fi;
		i = 0
	}
	:: atomic { told[3] -> i = 3; goto told_of }
	:: atomic { told[4] -> i = 4; goto told_of }
	:: atomic { landed[0] != 0 -> i = landed[0]; landed[0] = 0; apply(i, true); i = 0 } // by the bus: an echo
	:: atomic { landed[0] != 0 -> i = landed[0]; landed[0] = 0; apply(i, false); i = 0 } // by the journal
	:: atomic { OWN == 2 && landed[OWN - 1] != 0 -> i = landed[OWN - 1]; landed[OWN - 1] = 0; apply(i, true); i = 0 }
	:: atomic { late[0] -> late[0] = false; shared++; landed[0] = shared; printf("a write of this node that was given up is applied as revision %d\n", shared) }
	:: atomic { evictions < EVICT && entry != 0 -> evictions++; remove(); printf("the policy takes the entry out\n") }
	od
} // never: it waits for more

// A reader that comes at any moment, and finds an entry near: Space.Find.
proctype Watch() {
end:
	atomic { live && entry < least -> printf("a reader that comes now: finds %d near; it had to be %d at least\n", entry, least); assert(false) } // never: the promise
} // never: nothing breaks the promise

init {
	byte n;
	atomic {
		run Watch();
		stamp[ENTRY] = (START -> FRESH : 0);
		run World();
		for (n : 0 .. READERS - 1) { run Reader(n) }
		n = 0;
		do :: n < OWN -> run Writer(n); n++ :: else -> break od;
		if :: REFRESH == 1 -> run Refresh() :: else fi;
		n = 0
	}
}
