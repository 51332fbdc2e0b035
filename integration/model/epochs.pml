// model: epochs and failover
// covers: a primary whose replica lags, is promoted and lacks what was lost; the deposed server, which goes on answering reads, and with SPLIT=1 goes on taking writes of other nodes; a node whose connections may lead to either; rounds, confirmation, loads and messages
// omits: own writes of the node, and so what becomes of one that a deposed server takes; that what was heard of an epoch is forgotten after 30 s; clocks of servers that differ while both take writes, which stays unnoticed; several partitions; a server that went back in time (rollback.lua: the same end of an epoch)
// promises: G4: no answer is older than a write that was acknowledged before the last whole round began, or longer than MaxStaleness ago; one that was lost, and that the node knows of by its age alone, counts once a whole round began after the loss; a round with a deposed server counts if the node had heard of the later epoch; G3: nor than news that was applied; G2: nor than what a caller was given from a record; G5: no record of the new epoch is older than a write that was lost
// small: READS=1 WRITES=1 FAILURES=1 LOADS=1 TICKS=0 BREAKS=0 SKEW=0 SPLIT=0
// small: READS=1 WRITES=1 FAILURES=0 LOADS=0 TICKS=2 BREAKS=0 SKEW=0 SPLIT=0
// small: READS=1 WRITES=2 FAILURES=0 LOADS=0 TICKS=0 BREAKS=0 SKEW=1 SPLIT=0
// small: READS=1 WRITES=2 FAILURES=0 LOADS=0 TICKS=0 BREAKS=0 SKEW=0 SPLIT=1
// small: READS=1 WRITES=1 FAILURES=0 LOADS=0 TICKS=0 BREAKS=1 SKEW=0 SPLIT=0
// full: READS=1 WRITES=1 FAILURES=0 LOADS=1 TICKS=9 BREAKS=1 SKEW=0 SPLIT=0
// full: READS=2 WRITES=2 FAILURES=1 LOADS=0 TICKS=0 BREAKS=1 SKEW=0 SPLIT=0
// full: READS=2 WRITES=2 FAILURES=0 LOADS=1 TICKS=0 BREAKS=0 SKEW=1 SPLIT=0
// full: READS=2 WRITES=2 FAILURES=0 LOADS=0 TICKS=0 BREAKS=0 SKEW=0 SPLIT=1
// full: READS=1 WRITES=2 FAILURES=0 LOADS=1 TICKS=0 BREAKS=0 SKEW=0 SPLIT=1
// rule PROOF at 3: a read is believed only if its server has the latest revision that the node had heard of
// rule SUPERSEDED at 3: a record of an earlier epoch than that of its partition is a miss
// rule FLUSH at 3: a new epoch ends everything near
// rule TAIL at 3: the read of the journal writes as well, so that a deposed server does not answer it
// rule CONFIRM at 2: a record is believed only if the horizon is no further back than MaxStaleness after it was read
// rule AWAY at 5: nor is it if the server was seen to be away since the horizon
// rule RECORDS at 2: an entry from a record is trusted by the horizon, and not by its own stamp
// rule EPOCHS at 3: revisions of different epochs are not compared: none covers another
// rule BEGINS at 3: a write begins the epoch as well, where nobody has read the journal since the promotion
// rule DEPOSED at 4: the journal of a server is not read whose epoch is earlier than one that was heard of
// rule DOUBT at 4: a record up to the highest number that was heard of in earlier epochs is a miss
// rule LOST at 4: news of a write in an earlier epoch makes records up to its number misses
// rule FILL at 1: a fill is refused if an epoch began since its lease was granted

#define MAX_AGE 1
#define max(a, b) ((a) > (b) -> (a) : (b))
#define older(e1, n1, e2, n2) ((e1) < (e2) || (e1) == (e2) && (n1) < (n2)) // behind in proof.go

mtype = { absent, lease, value };

// SKEW: the clock of server 0 is ahead of that of server 1 by longer than the failover takes.
// BREAKS: the node may see a call fail because the server is away.
// SPLIT: server 0 goes on taking writes after the promotion, of nodes that have not heard of it.
// The servers: 0 is the first primary, 1 its replica.
mtype kind[2];
byte version[2];   // of the source, in the record
byte recordEpoch[2], recordNumber[2];
byte epoch[2];     // in the metadata of the partition
byte last[2];      // the highest number that a write was given
byte primary;
bool promoted;     // server 1 was promoted, and no epoch began since

byte source = 1;   // the version that the loader returns
byte acked = 1;    // the latest write that was acknowledged
byte before[2];    // acked as it was when the clock ticked last, and one tick earlier
byte start, sure;  // acked as it was when the round, and when the last whole round, began
byte away;         // acked as it was when the node saw that the server was away
byte lost, kept;   // the latest write that was lost with server 0, and what server 1 had instead
byte given;        // the latest version that a caller of the node was given from a record
byte news;         // the latest version of which the node applied news

// The node.
byte near, nearEpoch, nearNumber; // the version that is near, 0: none; its revision
byte stamp;        // how many ticks ago its read began
byte horizon;      // how many ticks ago the horizon is
byte began;        // how many ticks ago the read of the journal began
bool round, slow;  // a round is under way; the clock has ticked since
bool broke;        // near.trust.breaks: the server was away since the horizon
bool brokeRound;   // and since the round began
byte known = 1;    // repairer.epochs
byte position = 1; // repairer.positions: its number
byte headEpoch = 1, headNumber = 1; // heads: the highest revision that the node heard of
byte doubt, floor; // head.doubt; floors: of the key
bool doubted;      // doubt was raised since the read began
bool fenced, reads;
byte toldVersion[2], toldEpoch[2], toldNumber[2]; // messages on their way

#define trusted (horizon <= MAX_AGE || !RECORDS && stamp <= MAX_AGE)
#define confirmed ((horizon <= MAX_AGE || !CONFIRM) && (!broke || !AWAY || !CONFIRM))

inline next(s) { // write.lua: the server's time, or one above the last number
	last[s] = (SKEW == 0 -> max(last[0], last[1]) + 1 : last[s] + (s == 0 -> 4 : 1))
}

inline doubts(n) { doubt = max(doubt, n); doubted = reads } // head.doubtLocked

inline hear(e, n) { // head.hear, raiseHead
	if
	:: e > headEpoch -> doubts(headNumber); headEpoch = e; headNumber = n
	:: e == headEpoch && n > headNumber -> headNumber = n
	:: else
	fi
}

inline drop() { near = 0; nearEpoch = 0; nearNumber = 0; stamp = 0; fenced = reads }

// A record that is a miss: Node.superseded, Node.doubtful, Cache.aboveFloor.
#define ended(e, n) (SUPERSEDED && (e) < max(known, headEpoch) || DOUBT && (n) <= doubt || LOST && (n) <= floor)

// What no answer that begins now may be behind.
#define aware max(max(news, given), sure) // what the node has heard of
#define least max(aware, before[1])

// A caller of Fetch: Cache.look, reach.proven, Cache.confirm, Cache.arrive, Cache.loadShared.
proctype Reader() {
	byte n, must, at, got, gotEpoch, gotNumber, askedEpoch, askedNumber, born, saw;
	bool again, found, firm;
	do
	:: n < READS ->
		n++;
		atomic {
			near == 0 || !trusted;
			must = least; saw = away; firm = before[1] <= aware; fenced = false; doubted = false; reads = true; again = false; printf("the node: begins a read\n");
			askedEpoch = headEpoch; askedNumber = headNumber // heads.ofAll
		}
read:
		atomic { // Tier.Read, over a connection to either server
			if
			:: at = 0
			:: at = primary
			fi;
			found = kind[at] == value; got = version[at]; gotEpoch = recordEpoch[at]; gotNumber = recordNumber[at];
			printf("the node: reads from server %d, whose head is %d of epoch %d: version %d of epoch %d\n", at, last[at], epoch[at], got, gotEpoch);
			if
			:: PROOF && older(epoch[at], last[at], askedEpoch, askedNumber) -> printf("the node: that server is behind what was heard of: unread\n"); found = false; goto unread
			:: else
			fi;
			hear(epoch[at], last[at]); // Node.sees, head.proved
			if
			:: epoch[at] < headEpoch -> doubts(last[at])
			:: epoch[at] == headEpoch && !doubted && last[at] < doubt -> doubt = last[at]
			:: else
			fi
		}
		if
		:: atomic { found && !confirmed -> printf("the node: waits for a round\n"); found = false; goto unread }
		:: atomic { found && confirmed && !ended(gotEpoch, gotNumber) -> // newsSince, Space.Install
			if
			:: !fenced && !(near != 0 && nearEpoch == gotEpoch && nearNumber > gotNumber) -> near = got; nearEpoch = gotEpoch; nearNumber = gotNumber; stamp = 0; printf("the node: puts version %d near\n", got)
			:: else -> printf("the node: version %d does not come near\n", got)
			fi;
			assert(got >= saw); // a node that saw that the server was away reads nothing of before
			given = (READS > 1 -> max(given, got) : 0);
			goto answer }
		:: atomic { !found || confirmed && ended(gotEpoch, gotNumber) -> printf("the node: that is a miss\n") }
		fi;
		if
		:: LOADS == 0 -> goto degraded
		:: LOADS != 0 ->
			atomic { kind[primary] = lease; version[primary] = 0; recordEpoch[primary] = 0; recordNumber[primary] = 0; born = epoch[primary]; printf("the node: is granted the lease, in epoch %d\n", born) } // acquire.lua
		fi;
		atomic { got = source; printf("the node: loads version %d from the source\n", got) }
		atomic { // write.lua, mode fill
			if
			:: kind[primary] == lease && (born == epoch[primary] || !FILL) ->
				kind[primary] = value; version[primary] = got; next(primary); recordEpoch[primary] = epoch[primary]; recordNumber[primary] = last[primary];
				printf("the node: fills the record of server %d, in epoch %d\n", primary, epoch[primary])
			:: else -> printf("the node: the fill is refused\n")
			fi;
			goto answer
		}
unread:
		if
		:: again -> skip
		:: else ->
			again = true;
			if
			:: atomic { !round -> askedEpoch = headEpoch; askedNumber = headNumber; doubted = false; goto read } // a round has ended, or failed
			fi
		fi;
degraded:
		atomic { got = source; printf("the node: loads version %d from the source, for itself\n", got) }
answer:
		atomic {
			must = (must > kept && must <= lost && !firm -> kept : must); // lost, and the node knows of it by the time that has passed alone
			printf("the node: answers version %d; it had to be %d at least\n", got, must);
			assert(got >= must); // G4, G3
			got = 0; gotEpoch = 0; gotNumber = 0; must = 0; saw = 0; at = 0; born = 0; askedEpoch = 0; askedNumber = 0; found = false; again = false; firm = false;
			reads = false; fenced = false; doubted = false
		}
	:: else -> break
	od;
	n = 0
}

// Other nodes: source first, then the server that they reach. Messages come late or never.
proctype Writer() {
	byte n, to;
	do
	:: n < WRITES ->
		atomic { source++; printf("the source: version %d\n", source) }
		atomic {
			if
			:: to = primary
			:: SPLIT && primary != 0 -> to = 0
			fi;
			if
			:: to == 1 && promoted && BEGINS -> promoted = false; epoch[1]++; next(1); printf("server 1: begins epoch %d\n", epoch[1])
			:: else
			fi;
			next(to);
			kind[to] = value; version[to] = source; recordEpoch[to] = epoch[to]; recordNumber[to] = last[to];
			acked = (to == primary -> source : acked); // what a deposed server takes is lost
			toldVersion[n] = source; toldEpoch[n] = epoch[to]; toldNumber[n] = last[to];
			printf("another node: writes version %d to server %d as revision %d of epoch %d, which is acknowledged\n", source, to, last[to], epoch[to]);
			n++; to = 0
		}
	:: else -> break
	od;
	n = 0
}

// The servers: replication lags, and the replica is promoted.
proctype Servers() {
	atomic { kind[1] = kind[0]; version[1] = version[0]; recordEpoch[1] = recordEpoch[0]; recordNumber[1] = recordNumber[0]; last[1] = last[0]; printf("server 1: has all that server 0 has\n") }
	atomic { primary = 1; promoted = true; lost = (acked > version[1] -> acked : 0); kept = version[1]; printf("server 1: is promoted\n") }
end:
	atomic { BREAKS -> away = acked; broke = true; brokeRound = true; printf("the node: a call fails, because the server is away\n") }
}

// repairer.round
proctype Repair() {
	byte failures, at, from;
	bool failed, reset, alone;
end:
	do
	:: atomic { // tail.lua, over a connection to either server; what comes between is in repair.pml
			round = true; slow = false; brokeRound = false; start = acked; failed = false; reset = false;
			if
			:: at = 0
			:: at = primary
			:: failures < FAILURES -> failures++; at = 2
			fi;
			began = 0;
			if
			:: at == 2 || at != primary && TAIL && !SPLIT -> failed = true; printf("the node: the journal cannot be read\n")
			:: at != primary && SPLIT && DEPOSED && epoch[at] < headEpoch -> failed = true; printf("the node: server %d is of an earlier epoch than one heard of: its journal is not read\n", at)
			:: else ->
				if
				:: at == 1 && promoted -> promoted = false; epoch[1]++; next(1); printf("server 1: begins epoch %d\n", epoch[1])
				:: else
				fi;
				reset = epoch[at] != known; from = position;
				printf("the node: reads the journal of server %d, epoch %d, to %d\n", at, epoch[at], last[at]);
				known = epoch[at]; position = last[at]; hear(known, position);
				alone = at != primary && SPLIT && known == headEpoch // it cannot know of the other server
			fi
		}
		if
		:: !failed && (reset && FLUSH || !reset && from < position && !(near != 0 && nearEpoch == known && nearNumber >= position)) ->
			atomic { drop(); printf("the node: what is near goes\n") } // Node.flush, Space.Apply
		:: else
		fi;
		atomic {
			if
			:: !failed -> horizon = began; sure = (alone -> sure : start); broke = brokeRound; printf("the node: the round is whole: the horizon is %d ticks back\n", horizon)
			:: else -> printf("the node: the round failed\n")
			fi;
			round = false; slow = false; start = 0; began = 0; reset = false; failed = false; at = 0; from = 0; brokeRound = false; alone = false
		}
	od
} // never: it goes on for ever

#define covered(i) (near != 0 && nearNumber >= toldNumber[i] && (nearEpoch == toldEpoch[i] || !EPOCHS)) // Revision.Covers

// The bus: Cache.apply.
proctype Bus() {
	byte i;
end:
	do
	:: atomic { toldNumber[0] != 0 -> i = 0;
heard: // Node.heardOf
		if
		:: toldEpoch[i] < headEpoch -> floor = max(floor, toldNumber[i])
		:: else -> hear(toldEpoch[i], toldNumber[i])
		fi;
		printf("the bus: tells of version %d, revision %d of epoch %d\n", toldVersion[i], toldNumber[i], toldEpoch[i]);
		if
		:: covered(i) -> printf("the node: the entry of revision %d of epoch %d contains it and stays\n", nearNumber, nearEpoch); fenced = reads
		:: else -> drop()
		fi;
		news = max(news, toldVersion[i]);
		toldVersion[i] = 0; toldEpoch[i] = 0; toldNumber[i] = 0; i = 0
	}
	:: atomic { toldNumber[1] != 0 -> i = 1; goto heard }
	od
} // never: it goes on for ever

// The clock. Servers answer within a tick, unless a round fails.
proctype Clock() {
	byte n;
end:
	do
	:: atomic { !slow && n < TICKS ->
		n = (TICKS < 9 -> n + 1 : n); // 9: without end
		slow = round;
		before[1] = before[0]; before[0] = acked;
		horizon = (horizon <= MAX_AGE -> horizon + 1 : horizon);
		stamp = (!RECORDS && near != 0 && stamp <= MAX_AGE -> stamp + 1 : stamp); // what RECORDS makes needless
		began = (round -> began + 1 : 0);
		printf("the clock: a tick\n")
	}
	od
} // never: it goes on for ever

// What holds at any moment.
proctype Watch() {
end:
	if
	:: atomic { near != 0 && trusted && near < least -> printf("a reader that comes now: finds version %d near; it had to be %d at least\n", near, least); assert(false) } // never: G4, G3
	:: atomic { kind[1] == value && recordEpoch[1] == 2 && version[1] < acked -> printf("server 1: has version %d in its new epoch; %d was acknowledged\n", version[1], acked); assert(false) } // never: G5
	fi
} // never: nothing breaks the promise

init {
	atomic {
		kind[0] = value; version[0] = 1; recordEpoch[0] = 1; recordNumber[0] = 1; epoch[0] = 1; last[0] = 1;
		kind[1] = value; version[1] = 1; recordEpoch[1] = 1; recordNumber[1] = 1; epoch[1] = 1; last[1] = 1;
		if
		:: LOADS -> kind[0] = absent; kind[1] = absent
		:: else
		fi;
		before[0] = 1; before[1] = 1; sure = 1; news = 1; away = 1;
		run Watch(); run Clock(); run Bus(); run Servers(); run Repair(); run Writer(); run Reader()
	}
}
