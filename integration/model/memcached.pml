// model: Memcached
// covers: gets, add and cas of one item, a server that restarts and counts from the beginning, a load under a lease, a write that is given up, deletes by another node; a node without a journal, whose messages are lost and missed
// omits: a restart between a gets and its cas after which another item has the same number, and an abandoned add to a key that is absent by then (both excluded), processes that were never heard of, evictions
// promises: G5: no value that is older than a delete which returned is stored; G3, and G4 as far as it holds without a journal: nothing is near that is older than news, than what was lost and was noticed, or than anything when the bus is heard again
// small: DELETES=1 RESTARTS=1 WRITES=1 READS=0 LOADS=1
// small: DELETES=2 RESTARTS=0 WRITES=0 READS=2 LOADS=0
// full: DELETES=2 RESTARTS=1 WRITES=1 READS=0 LOADS=2
// full: DELETES=2 RESTARTS=1 WRITES=1 READS=2 LOADS=1
// rule CAS at 1: a write replaces what its gets showed, and nothing else
// rule NONCE at 1: a fill reads the item, compares the nonce of its lease, and replaces what it read
// rule ADD at 1: where its gets showed nothing, a write adds, which an item that is there refuses
// rule GAP at 2: a message that is missing flushes the near tier
// rule READY at 2: the near tier is flushed again when the bus is heard again
// rule FENCE at 2: a flush fences reads under way


mtype = { absent, tombstone, lease, value };

mtype kind = absent;  // of the item
byte holder;          // the nonce of a lease
byte version;         // of a value
byte number;          // the cas number of the item
byte next = 1;        // the cas number that the next item is given
byte life;            // of the server
byte source = 1;
byte acked;           // the version of the latest delete that returned
bool pending;         // a request that was given up is on its way
byte pendingVersion, pendingNumber; // what it stores, in the place of which number; 0: an add

// A node that reads.
byte near;
bool fenced, reads;
bool cut;             // Node.cut
byte least;
byte untold;          // the version of a message on its way
byte lost;            // of a message that was lost, and not missed yet

#define put(k, v, h) kind = k; version = v; holder = h; number = next; next++

// A load under a lease: Store.grant, Store.step of a fill.
proctype Loader(byte me) {
	byte loaded, got, seen, mine;
end:
	atomic { kind == absent || kind == tombstone; put(lease, 0, me); got = number; mine = life; printf("node A: has the lease of nonce %d, number %d\n", me, got) }
	atomic { loaded = source; printf("node A: loads version %d from the source\n", loaded) }
	if
	:: atomic { NONCE && kind == lease && holder == me -> seen = number; mine = life; printf("node A: gets shows its lease, number %d\n", seen) }
	:: atomic { NONCE && !(kind == lease && holder == me) -> printf("node A: gets does not show its lease: nothing is stored\n"); goto over }
	:: atomic { !NONCE -> seen = got; mine = life } // never: with the rule it reads first
	fi;
	atomic {
		if
		:: mine == life && kind != absent && number == seen -> put(value, loaded, 0); printf("node A: cas of %d stores version %d\n", seen, loaded)
		:: else -> printf("node A: cas of %d is refused\n", seen)
		fi
	}
over:
	atomic { loaded = 0; got = 0; seen = 0; mine = 0 }
}

// Node A: a write that is given up after its gets.
proctype Writer() {
end:
	atomic { WRITES != 0; source++; pendingVersion = source; pendingNumber = (kind == absent -> 0 : number); pending = true;
		printf("node A: the source has version %d; Set is sent, in the place of number %d, and given up\n", source, pendingNumber) }
}

// Node B: Delete, after the source was changed.
proctype Deleter() {
	byte n, v;
	do
	:: n < DELETES ->
		n++;
		atomic { source++; v = source; printf("the source: version %d\n", v) }
		atomic { put(tombstone, 0, 0); printf("node B: a tombstone, number %d\n", number) } // gets and cas, again until nobody came in between
		atomic { acked = v; untold = v; v = 0; printf("node B: Delete for version %d returns nil\n", acked) }
	:: else -> break
	od;
	n = 0
}

// The node that reads: Cache.look, Space.Install.
proctype Reader(byte me) {
	byte got;
end:
	atomic { near == 0 && !reads; reads = true; fenced = false; printf("node C: begins a load\n") }
	atomic { got = source; printf("node C: loads version %d from the source\n", got) }
	atomic {
		if
		:: !fenced -> near = got; printf("node C: puts version %d near\n", got)
		:: else -> printf("node C: version %d does not come near\n", got)
		fi;
		reads = false; fenced = false; got = 0 }
}

inline flush() {
	near = 0;
	if
	:: FENCE -> fenced = reads
	:: else
	fi
}

proctype World() {
	byte restarts;
end:
	do
	:: atomic { restarts < RESTARTS -> restarts++; life++; kind = absent; version = 0; holder = 0; number = 0; next = 1; pending = false; pendingVersion = 0; pendingNumber = 0; printf("the server: restarts, empty, and counts from 1\n") }
	:: atomic { pending -> pending = false;
		if
		:: !CAS && pendingNumber != 0 || !ADD && pendingNumber == 0 || kind == absent && pendingNumber == 0 || kind != absent && number == pendingNumber -> put(value, pendingVersion, 0); printf("the server: stores version %d, which was given up\n", version)
		:: else -> printf("the server: refuses version %d, which was given up\n", pendingVersion)
		fi;
		pendingVersion = 0; pendingNumber = 0 }
	:: atomic { kind == tombstone && !pending && acked == source -> kind = absent; number = 0; printf("the tombstone expires\n") }
	:: atomic { untold != 0 && !cut -> near = 0; fenced = reads; least = untold; printf("node C: hears of the delete for version %d\n", untold); untold = 0 }
	:: atomic { untold != 0 -> lost = untold; untold = 0; printf("the message of version %d is lost\n", lost) }
	:: atomic { lost != 0 && !cut -> // Node.gap
		cut = true;
		if
		:: GAP -> flush()
		:: else
		fi;
		least = lost; lost = 0; printf("node C: misses a message\n") }
	:: atomic { cut && untold == 0 -> // Node.ready
		if
		:: READY -> flush()
		:: else
		fi;
		cut = false; lost = 0; least = acked; printf("node C: hears the bus again\n") }
	od
} // never: it goes on for ever

// What holds at any moment.
proctype Watch() {
end:
	if
	:: atomic { kind == value && version < acked -> printf("the server: has version %d, after the delete for version %d returned\n", version, acked); assert(false) } // never: G5
	:: atomic { near != 0 && near < least -> printf("a reader that comes to node C now: finds version %d near; it had to be %d at least\n", near, least); assert(false) } // never: G3, G4
	fi
} // never: nothing breaks the promise

init {
	byte n;
	atomic {
		run Watch(); run World(); run Deleter(); run Writer();
		n = 0; do :: n < LOADS -> n++; run Loader(n) :: else -> break od;
		n = 0; do :: n < READS -> n++; run Reader(n) :: else -> break od;
		n = 0
	}
}
