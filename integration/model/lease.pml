// model: fence and lease
// covers: loads of one key under leases by nodes A and B, deletes by node A, leases that expire, are renewed and are asked for twice, values that are not stored
// omits: values that are written (ownwrites.pml, owed.pml), a record that is refreshed in its place (the same fence, by its nonce), clocks that are set back
// promises: G5: a load that began before a delete leaves its value neither in the shared tier nor near once the delete returned, or its news was applied; G2: no record that is older than a value which was given and not stored is read after it
// small: LOADERS=2 NODES=2 DELETES=1 EXPIRE=1 RENEWALS=1 ABANDON=1
// small: LOADERS=2 NODES=1 DELETES=2 EXPIRE=1 RENEWALS=0 ABANDON=0
// full: LOADERS=2 NODES=2 DELETES=2 EXPIRE=1 RENEWALS=1 ABANDON=1
// full: LOADERS=3 NODES=2 DELETES=1 EXPIRE=1 RENEWALS=0 ABANDON=0
// full: LOADERS=3 NODES=2 DELETES=2 EXPIRE=1 RENEWALS=0 ABANDON=0
// rule TOKEN: a fill replaces its own lease, and nothing else
// rule ENDS: a delete ends the lease of its key, and leaves a tombstone
// rule RENEW: a renewal prolongs a lease that is there, and makes none
// rule ANEW: a request for a lease that was given up is made again with another token
// rule UNSTORED: who waited for one lease time loads for itself and stores nothing
// rule FLOOR at 2: no record is read that may be older than a value which was given and not stored
// rule BORN at 2: a fill has the revision of when its lease was granted
// rule MARKS: a value whose load began before its key was invalidated does not come near
// rule SUPERSEDE at 2: a value that is given and not stored takes out what is near
// rule REFUSED at 2: a value whose fill was refused does not come near
// rule GUARD at 2: nor does one whose lease was granted before the floor of its key

#define max(a, b) ((a) > (b) -> (a) : (b))
// NODES: with 2, loader 1 is on node B, the others are on A; with 1, all are on A.
#define nodeOf(me) (NODES == 2 && (me) == 1)
#define name(me) (65 + nodeOf(me))

mtype = { absent, tombstone, lease, value };

byte source = 1;         // the version that the loader returns
mtype kind = absent;     // of the record in the shared tier
byte holder;             // of a lease: its token
byte version;            // of a value: which version of the source it is
byte number;             // of a value: its revision
byte now = 1;            // of the server: revisions follow its clock
byte near[2];        // the version that is near, 0: none
byte nearNumber[2];  // its revision
byte floor[2];       // floors: the highest revision that the server can have given when a value was given and not stored
byte least[2];       // what a reader of the node must not be behind: deletes that returned, news, values given
byte given[2];       // the version that was given and not stored
bool fenced[LOADERS];    // the mark of the key was raised since the flight began
bool runs[LOADERS];      // its flight may be joined, unless it is fenced
byte abandoned;          // a request for a lease that was given up is on its way, with this token
byte deleting;           // the version that a delete under way stands for
byte acked;              // the version of the latest delete that returned
byte untold;             // the version that node B has not heard of

// near.Space.Apply: the mark is raised, the entry goes.
inline mark(node) {
	d_step {
		near[node] = 0; nearNumber[node] = 0;
		for (l : 0 .. LOADERS - 1) {
			if
			:: nodeOf(l) == node && runs[l] -> fenced[l] = true
			:: else
			fi
		}
		l = 0
	}
}

inline place(node, v, n) { // Space.Install: putLocked, after the fence
	if
	:: fenced[me] && MARKS
	:: (!fenced[me] || !MARKS) && GUARD && n != 0 && n <= floor[node]
	:: else -> near[node] = v; nearNumber[node] = n
	fi
}

// Cache.arrive with wayUnstored: giveUnstored, Space.Supersede.
inline give(node, v) {
	if
	:: FLOOR -> floor[node] = max(floor[node], now)
	:: else
	fi;
	if
	:: SUPERSEDE -> near[node] = 0; nearNumber[node] = 0
	:: else
	fi;
	given[node] = max(given[node], v);
	least[node] = max(least[node], v);
	printf("node %c: gives version %d to its callers, which is not stored; the floor is %d\n", name(me), v, floor[node])
}

#define usable(node) (kind == value && number > floor[node]) // Cache.aboveFloor
#define flight(l, node) (runs[l] && !fenced[l] && nodeOf(l) == (node))
#define busy(node) (flight(0, node) || flight(1, node) || LOADERS == 3 && flight(LOADERS - 1, node))

// A flight with a loader: Cache.look, Cache.loadShared, Cache.conclude.
proctype Loader(byte me) {
	byte loaded, born, token, l;
	bool again;
end:
	atomic { // Cache.board: one flight at a time, unless it is fenced
		near[nodeOf(me)] == 0 && !busy(nodeOf(me));
		runs[me] = true; token = me + 1;
		printf("node %c: begins a read\n", name(me))
	}
read:
	atomic {
		if
		:: usable(nodeOf(me)) ->
			printf("node %c: reads version %d, revision %d, from the shared tier\n", name(me), version, number);
			assert(version >= given[nodeOf(me)]); // G2
			place(nodeOf(me), version, number);
			goto over
		:: else -> printf("node %c: reads that there is nothing of use\n", name(me))
		fi
	}
	if
	:: true
	:: atomic { ABANDON && !again && abandoned == 0 -> // Tier.Acquire: the client gives the first request up
		again = true; abandoned = token;
		printf("node %c: asks for the lease; the client gives the request up, which is on its way\n", name(me));
		if
		:: ANEW -> token = token + 4
		:: else
		fi
	}
	fi;
	atomic { // acquire.lua
		if
		:: kind == lease && holder != token -> printf("node %c: asks for the lease: another has it\n", name(me)); goto wait
		:: kind == value && usable(nodeOf(me)) -> printf("node %c: asks for the lease: there is a value by now\n", name(me)); goto read
		:: else -> kind = lease; holder = token; version = 0; number = 0; now++; born = now; printf("node %c: is granted the lease at %d\n", name(me), born)
		fi
	}
	atomic { loaded = source; printf("node %c: loads version %d from the source\n", name(me), loaded) }
	if
	:: true
	:: atomic { RENEWALS -> // Tier.Renew
		if
		:: kind == lease && holder == token -> printf("node %c: renews the lease\n", name(me))
		:: else ->
			if
			:: RENEW -> printf("node %c: renews the lease: it is lost\n", name(me))
			:: else -> kind = lease; holder = token; version = 0; number = 0; printf("node %c: renews the lease, which was gone\n", name(me)) // never: RENEW is in force
			fi
		fi
	}
	fi;
	atomic { // write.lua, mode fill
		if
		:: kind == lease && (holder == token || !TOKEN) ->
			now++;
			kind = value; version = loaded; holder = 0; number = (BORN -> born : now);
			printf("node %c: fills the record with version %d, revision %d\n", name(me), loaded, number);
			goto filled
		:: else -> printf("node %c: the fill of version %d is refused\n", name(me), loaded)
		fi
	}
	atomic { // Cache.takeOthers
		if
		:: usable(nodeOf(me)) ->
			printf("node %c: reads version %d instead\n", name(me), version);
			assert(version >= given[nodeOf(me)]);
			place(nodeOf(me), version, number)
		:: else ->
			give(nodeOf(me), loaded);
			if
			:: !REFUSED && !fenced[me] -> near[nodeOf(me)] = loaded; nearNumber[nodeOf(me)] = 0 // never: REFUSED is in force
			:: else
			fi
		fi;
		goto over
	}
filled:
	atomic { // Cache.arrive with wayLoaded
		if
		:: BORN
		:: else -> born = now // never: BORN is in force
		fi;
		place(nodeOf(me), loaded, born);
		goto over
	}
wait:
	if
	:: atomic { kind != lease || holder == token -> goto read } // Cache.await
	:: atomic { loaded = source; printf("node %c: has waited for a lease time, and loads version %d for itself\n", name(me), loaded) }
	fi;
	atomic { // Cache.loadAlone
		give(nodeOf(me), loaded);
		if
		:: UNSTORED
		:: else -> now++; kind = value; version = loaded; number = now; holder = 0; printf("node %c: stores version %d all the same\n", name(me), loaded) // never: UNSTORED is in force
		fi
	}
over:
	atomic { runs[me] = false; fenced[me] = false; loaded = 0; born = 0; token = 0; again = false }
}

// A caller of Delete on node A, after the source was changed: Cache.dropPart.
proctype Writer() {
	byte l, n;
	do
	:: n < DELETES ->
		n++;
		atomic { source++; deleting = source; printf("the source: version %d\n", source) }
		atomic { mark(0); printf("node A: Delete raises the mark\n") }
		atomic { // write.lua
			now++; untold = (NODES == 2 -> deleting : 0);
			if
			:: kind == lease && !ENDS -> printf("the shared tier: a lease is there and stays\n")
			:: else -> kind = tombstone; holder = 0; version = 0; number = 0; printf("the shared tier: a tombstone takes the place of the record\n")
			fi
		}
		atomic { mark(0); least[0] = max(least[0], deleting); acked = deleting; printf("node A: Delete returns nil\n"); deleting = 0 }
	:: else -> break
	od;
	n = 0
}

proctype World() {
	byte expired, l;
end:
	do
	:: atomic { kind == lease && expired < EXPIRE -> expired++; kind = absent; holder = 0; printf("the lease expires\n") }
	:: atomic { kind == tombstone -> kind = absent; printf("the tombstone expires\n") }
	:: atomic { untold != 0 -> mark(1); least[1] = max(least[1], untold); printf("node B: hears of the delete, and raises the mark\n"); untold = 0 }
	:: atomic { abandoned != 0 -> // acquire.lua, for a request that was given up
		if
		:: kind == absent || kind == tombstone -> kind = lease; holder = abandoned; printf("the request that was given up is granted: a lease is there\n")
		:: else -> printf("the request that was given up is refused\n")
		fi;
		abandoned = 0
	}
	od
} // never: it waits for more

// What holds at any moment.
proctype Watch() {
end:
	if
	:: atomic { near[0] != 0 && near[0] < least[0] -> printf("a reader that comes to node A now: finds version %d near; it had to be %d at least\n", near[0], least[0]); assert(false) } // never: G5, G2
	:: atomic { near[1] != 0 && near[1] < least[1] -> printf("a reader that comes to node B now: finds version %d near; it had to be %d at least\n", near[1], least[1]); assert(false) } // never: G5, G2
	:: atomic { kind == value && version < acked -> printf("the shared tier: has version %d, after the delete for version %d returned\n", version, acked); assert(false) } // never: G5
	fi
} // never: nothing breaks the promise

init {
	byte n;
	atomic {
		run Watch(); run World();
		for (n : 0 .. LOADERS - 1) { run Loader(n) }
		run Writer();
		n = 0
	}
}
