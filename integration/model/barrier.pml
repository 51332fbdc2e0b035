// model: barrier and token
// covers: node A, which writes and then waits for node B, or gives B's reader a token; B, which may read the journal and keys of another server, be slow, be cut off the bus, and be unknown to A; questions and answers that are lost
// omits: more nodes, which are each waited for in the same way, goodbyes, debts, which are waited for first, nodes without a journal, nodes that are unknown and miss two questions in a row (excluded), nodes that are cut off and read the journal of another server (excluded), the clocks in a token
// promises: once Barrier returned, B serves nothing older than what A had written; a reader with a token is given nothing older than what the token stands for; progress: Barrier returns in the end where B reads the journal of A and hears the bus
// progress: returns
// small: TICKS=1 OTHER=1 CUT=1 KNOWN=1 READS=1
// small: TICKS=3 OTHER=0 CUT=1 KNOWN=1 READS=0
// small: TICKS=0 OTHER=0 CUT=0 KNOWN=0 READS=1
// small: TICKS=0 OTHER=0 CUT=2 KNOWN=0 READS=0
// small: TICKS=0 OTHER=0 CUT=0 KNOWN=1 READS=0
// full: TICKS=3 OTHER=0 CUT=1 KNOWN=1 READS=2
// full: TICKS=1 OTHER=1 CUT=1 KNOWN=1 READS=2
// rule ROUND at 3: a node answers after a round that began after the question came
// rule REACHED at 1: it answers only if it has read as far as the asker knows the journal to go
// rule GRACE at 2: a node that fell silent is waited for until MaxStaleness has passed since the call
// rule HEARD at 4: the own question has to come back: otherwise the silence of others means nothing
// rule TWICE at 3: nobody is believed to be there only after everybody was asked twice
// rule ROLL at 3: a node that hears a question and is not among those it names says that it is there, and is waited for
// rule APPLIED: what is near is an answer to a token only if the journal was applied as far, or the entry is as new
// rule HEAD at 1: a read of the shared tier is an answer to a token only if its server has a head as high
// rule LATE: a reader with a token joins no read that began before
// live ASKS at 5: who has not answered is asked again

// CUT: 1, either node may be cut off the bus; 2, node A may.
#define MAX_AGE 1

byte record[2];      // the revision of the record: on A's server, 0, and on another, 1, that B may reach
bool wrote;          // A's write returned
bool called;         // A has called Barrier
byte since;          // ticks since the call
bool returned;       // Barrier returned nil
bool cut;            // B does not hear the bus, and is not heard
bool deaf;           // A does not hear the bus
bool question;       // is on its way to B
bool echo;           // the own question came back
byte asked;          // how often everybody was asked
byte losses;
bool awaited;        // A knows of B
bool silent;         // A has noticed that B is silent
bool answer;         // of B, is on its way to A
bool here;           // B has said that it is there
bool waiting;        // calls.waiting: B is to answer after a round
bool early;          // a round was under way when the question came

// Node B.
byte near = 1;
byte applied = 1;    // repairer.applied
byte horizon;        // how many ticks ago it is
byte began;          // how many ticks ago the round began
bool round;
byte reads;          // what a read under way found, 0: none is

#define trusted (horizon <= MAX_AGE)

// Node A: Cache.Set, Cache.Token, Node.Barrier, Bus.missing.
proctype Asker() {
	atomic { record[0] = 2; wrote = true; printf("node A: writes revision 2; Set returns nil\n") }
	atomic { called = true; awaited = KNOWN; since = 0; printf("node A: calls Barrier\n") }
	atomic { question = !cut && !deaf; echo = !deaf; asked = 1; printf("node A: asks everybody\n") }
end:
	do
	:: atomic { answer && !returned -> answer = false; returned = true; printf("node A: node B has answered: Barrier returns\n") }
	:: atomic { here -> here = false; awaited = true; printf("node A: hears that node B is there\n") }
	:: atomic { !returned && !awaited && !question && !here && !answer && asked == 1 && !deaf -> question = !cut; echo = true; asked = 2; printf("node A: nobody has answered; asks everybody again\n") }
	:: atomic { !returned && !awaited && !question && !here && !answer && (echo && (asked == 2 || !TWICE) || !HEARD) -> returned = true; printf("node A: nobody is there: Barrier returns\n") } // never: node B is there, and one of two questions reaches it
	:: atomic { !returned && awaited && !silent && (cut || deaf) -> silent = true; printf("node A: hears nothing of node B any more\n") }
	:: atomic { !returned && awaited && silent && (since > MAX_AGE || !GRACE) && (echo || !HEARD) -> returned = true; printf("node A: node B is silent for long enough: Barrier returns\n") }
	:: atomic { !returned && awaited && !question && !answer && !waiting && !cut && !deaf && ASKS -> question = true; echo = true; printf("node A: asks node B again\n") }
	:: returned -> break
	od
}

// Node B: Node.called, repairer.call.
proctype Called() {
end:
	do
	:: atomic { question && !cut ->
		question = false; here = !awaited && ROLL; waiting = true; early = round;
		printf("node B: hears the question\n");
		if
		:: ROUND
		:: else -> waiting = false; answer = true; printf("node B: answers at once\n") // never: ROUND is in force
		fi }
	:: atomic { question && losses == 0 -> losses = 1; question = false; printf("the question is lost\n") }
	:: atomic { answer && (cut || deaf) -> answer = false; printf("the answer is lost\n") }
	od
} // never: it goes on for ever

// Node B: repairer.round, repairer.answer.
proctype Repair() {
	byte end_of, failures;
	bool first;
end:
	do
	:: atomic { !round && !returned -> round = true; began = 0;
		if
		:: end_of = record[0]
		:: OTHER -> end_of = record[1]
		fi;
		printf("node B: reads the journal to %d\n", end_of) }
	:: atomic { round && failures == 0 -> failures = 1; round = false; began = 0; printf("node B: the round fails\n"); early = false; end_of = 0 }
	:: atomic { round ->
		round = false;
		if
		:: end_of > applied && near < end_of -> near = 0; reads = 0; printf("node B: what is near goes\n")
		:: else
		fi;
		applied = end_of; horizon = began; began = 0; end_of = 0;
		printf("node B: the round is whole\n");
		if
		:: waiting && !early ->
			waiting = false;
			if
			:: applied >= 2 || !REACHED -> answer = true; printf("node B: answers\n")
			:: else -> printf("node B: has not read as far as node A knows, and does not answer\n")
			fi
		:: else
		fi;
		early = false }
	od
} // never: it goes on for ever

// A reader of node B, with a token of A's write or without: Cache.Lookup, nearAnswer, boardSince, unproven.
proctype Reader() {
	byte n, got, at;
end:
	do
	:: n < READS ->
		n++;
		// One without begins a read, which takes its time.
		atomic { true; at = 0;
			if
			:: true
			:: OTHER -> at = 1
			fi;
			reads = record[at]; printf("node B: a read without a token finds revision %d\n", reads) }
		atomic { wrote ->
			if
			:: near != 0 && trusted && (applied >= 2 || near >= 2 || !APPLIED) -> got = near; printf("node B: a reader with the token finds revision %d near\n", got) // never: near is revision 1 only, which goes when the journal is applied
			:: else ->
				if
				:: reads != 0 && !LATE -> got = reads; printf("node B: a reader with the token joins that read\n") // never: LATE is in force
				:: else ->
					at = 0;
					if
					:: true
					:: OTHER -> at = 1
					fi;
					got = record[at]; printf("node B: a reader with the token reads revision %d\n", got);
					if
					:: got < 2 && HEAD -> got = 2; printf("node B: its server is behind the token: the reader is told so\n") // the head of a server is its latest write
					:: else
					fi
				fi
			fi;
			assert(got >= 2); // the token
			got = 0; reads = 0; at = 0 }
	od
} // never: it goes on for ever

proctype World() {
	byte ticks;
end:
	do
	:: atomic { ticks < TICKS && !returned -> ticks++; horizon = (horizon <= MAX_AGE -> horizon + 1 : horizon); began = (round && began <= MAX_AGE -> began + 1 : began); since = (called && since <= MAX_AGE -> since + 1 : since); printf("the clock: a tick\n") }
	:: atomic { CUT == 1 && !cut && !deaf && called -> cut = true; printf("node B: is cut off the bus\n") }
	:: atomic { CUT != 0 && !cut && !deaf && !called && wrote -> deaf = true; printf("node A: is cut off the bus\n") }
	od
} // never: it goes on for ever

// What holds at any moment.
proctype Watch() {
end:
	atomic { returned && near != 0 && near < 2 && trusted -> printf("a reader that comes to node B now: finds revision %d near, after Barrier returned\n", near); assert(false) } // never: the barrier
} // never: nothing breaks the promise

ltl returns { []<>(returned || cut || deaf || applied != 2) }

init {
	atomic { record[0] = 1; record[1] = 1; run Watch(); run World(); run Called(); run Repair(); run Reader(); run Asker() }
}
