/*
 * One log, the witness that cosigns it, and what may happen to either: P1, P3, P4 and P7.
 *
 * A tree is a number in base B that begins with 1, and each further digit is an entry: 1 and 2 are
 * entries that differ, 2 + k is the LOSS that brings in log key k. The tree 1 holds GENESIS alone,
 * which the witness has cosigned. What the model leaves out is in docs/model.md.
 *
 * Each guard of the protocol is taken away by -D<guard>=0; run.py sees that every one is needed.
 */
#ifndef MAX
#define MAX 3           /* entries after GENESIS */
#endif
#ifndef KEYS
#define KEYS 2          /* log keys: one, and one for each LOSS */
#endif
#ifndef COSIGNERS
#define COSIGNERS 2     /* cosigner keys */
#endif
#ifndef MISHAPS
#define MISHAPS 2
#endif
#ifndef LIAR
#define LIAR 0          /* the log's node keeps no rule at all; its witness does */
#endif
#ifndef GOAL
#define GOAL 0          /* look for a recovered log that is cosigned under a new key */
#endif

#ifndef SHOW_AFTER_COMMIT
#define SHOW_AFTER_COMMIT 1
#endif
#ifndef MARK
#define MARK 1          /* a store below its high-water mark appends nothing */
#endif
#ifndef INSTANCE
#define INSTANCE 1      /* a restored store is another one: unconfirmed */
#endif
#ifndef CONFIRM
#define CONFIRM 1       /* an unconfirmed log looks at what its peer cosigned */
#endif
#ifndef MENTION
#define MENTION 1       /* ... and at what its clients were shown */
#endif
#ifndef PERSIST
#define PERSIST 1       /* the witness's state is on the disk before a cosignature leaves */
#endif
#ifndef EXTENDING
#define EXTENDING 1     /* only what extends the tree that was cosigned last is cosigned */
#endif
#ifndef SPENT
#define SPENT 1         /* a cosigner key whose memory was lost cosigns no more */
#endif
#ifndef KEY_IN_FORCE
#define KEY_IN_FORCE 1  /* a store from before a LOSS is not started again */
#endif
#ifndef NEW_KEY
#define NEW_KEY 1       /* a LOSS brings in a new log key */
#endif
#ifndef FROM_COSIGNED
#define FROM_COSIGNED 1 /* a LOSS stands after what was cosigned, not after a backup */
#endif
#ifndef OWN_COSIGNED
#define OWN_COSIGNED 1  /* ... also after what only this side remembers as cosigned */
#endif
#ifndef ASKED_AGAIN
#define ASKED_AGAIN 1   /* ... and after what is so when it is committed, not when asked for */
#endif
#ifndef ROUND_OVER
#define ROUND_OVER 1    /* the witness answers when it has nothing half done */
#endif
#ifndef FETCHED_AGAIN
#define FETCHED_AGAIN 1 /* a recovered witness cosigns nothing that was fetched before */
#endif

#define NOTHING 0
#define B (KEYS + 2)
#define SIZE(t) ((t) < B -> 0 : ((t) < B*B -> 1 : ((t) < B*B*B -> 2 : 3)))
#define POWER(n) ((n) == 0 -> 1 : ((n) == 1 -> B : ((n) == 2 -> B*B : B*B*B)))
#define LENGTH(t) (SIZE(t) + 1)
#define CUT(t, s) ((t) / POWER(SIZE(t) - (s)))
#define EXTENDS(t, u) (SIZE(t) >= SIZE(u) && CUT(t, SIZE(u)) == (u))
#define AGREE(t, u) (EXTENDS(t, u) || EXTENDS(u, t))
#define LARGER(t, u) (SIZE(t) >= SIZE(u) -> (t) : (u))

/* The log's node. On its disk: */
byte tree = 1;
byte own_cosigned = 1;  /* the newest of its checkpoints that came back cosigned */
byte mark = 1;          /* the high-water mark, in entries; 0: lost */
byte key;               /* which log key its files hold */
byte asked;             /* the tree after which a LOSS was asked for */
/* In memory: */
byte pending;           /* the tree of the commit under way */
byte standing;          /* whether it may append */
#define SURE 0
#define UNCONFIRMED 1
#define ROLLED_BACK 2

/* The witness. On its disk: */
byte cosigned = 1;
byte cosigner;          /* which cosigner key it has */
bool spent;
bool made;              /* a cosignature that has not left yet */
/* In memory: */
byte fetched;           /* replayed and found right, not yet cosigned */
/* Beside it on its disk: */
byte kept;              /* what a recovery of its node has fetched of the log */

/* Copies. */
byte backup;
byte backup_key;
byte anchored = 1;      /* what a backup of the witness's node remembers as cosigned */

/* What nobody can take back. */
byte shown[KEYS] = 1;       /* by log key, the largest tree that left the node */
byte vouched[COSIGNERS] = 1; /* by cosigner key, the largest tree whose cosignature left */
byte settled = 1;           /* the largest cosigned tree that log or witness still remembers */
byte mishaps;

/* P7, and P4 of the log: one history under a key. */
inline leaves(t) {
    assert(LIAR || AGREE(shown[key], t));
    if :: SIZE(t) > SIZE(shown[key]) -> shown[key] = t :: else fi
}

/* P4 of the witness: one history under a cosigner key, and none that gives up a cosigned tree. */
inline cosignature_leaves(t) {
    assert(AGREE(vouched[cosigner], t));
    assert(!GOAL || key == 0 || cosigner == 0);
    if :: SIZE(t) > SIZE(vouched[cosigner]) -> vouched[cosigner] = t :: else fi;
    if :: SIZE(t) > SIZE(settled) -> assert(LIAR || EXTENDS(t, settled)); settled = t :: else fi
}

/* P1 and P3: a log that takes appends holds all that was cosigned. */
inline look() {
    assert(LIAR || standing != SURE || EXTENDS(tree, settled))
}

/* What log and witness have both forgotten is out of reach. */
inline forgotten() {
    if
    :: !EXTENDS(cosigned, settled) && !EXTENDS(own_cosigned, settled) ->
        settled = (AGREE(tree, cosigned) -> LARGER(cosigned, own_cosigned) : own_cosigned)
    :: else
    fi
}

/* Two commits never come to the same tree: each body has a salt of its own. */
#define KNOWN(t) (EXTENDS(shown[0], t) || EXTENDS(shown[key], t) || EXTENDS(backup, t))

active proctype log() {
    do
    :: atomic { !LIAR && standing == SURE && pending == NOTHING && SIZE(tree) < MAX ->
        pending = tree * B + (KNOWN(tree * B + 1) -> 2 : 1) }
    :: atomic { pending != NOTHING ->                           /* the commit returns */
        tree = pending; pending = NOTHING;
        if :: mark = LENGTH(tree) :: skip fi }                  /* kept once a second */
    :: atomic { pending != NOTHING -> pending = NOTHING }       /* a crash before it did */
    :: atomic { !LIAR && shown[key] != tree -> leaves(tree) }
    :: atomic { !SHOW_AFTER_COMMIT && pending != NOTHING -> leaves(pending) }
    :: atomic { standing == UNCONFIRMED ->
        /* Who holds the largest note is heard, unless mark or peer remember as much as it says. */
        if
        :: mark >= LENGTH(shown[key]) || SIZE(cosigned) >= SIZE(shown[key])
        :: MENTION && !EXTENDS(tree, shown[key]) -> standing = ROLLED_BACK
        :: !MENTION || EXTENDS(tree, shown[key])
        fi;
        if
        :: CONFIRM && !EXTENDS(tree, cosigned) -> standing = ROLLED_BACK
        :: else
        fi;
        if :: standing == UNCONFIRMED -> standing = SURE :: else fi;
        look() }
    :: atomic { LIAR && SIZE(tree) < MAX -> tree = tree * B + 1 }
    :: atomic { LIAR && SIZE(tree) < MAX -> tree = tree * B + 2 }
    :: atomic { LIAR && tree != 1 -> tree = 1 }
    od
}

/* The one way out for a log that has lost something, or whose operator insists. */
#define COSIGNED_BY_BOTH (AGREE(cosigned, own_cosigned) -> LARGER(cosigned, own_cosigned) : NOTHING)
#define BEFORE_LOSS (!FROM_COSIGNED && backup != NOTHING -> backup : \
    (OWN_COSIGNED -> COSIGNED_BY_BOTH : cosigned))

active proctype recovery() {
    do
    :: atomic { !LIAR && asked == NOTHING && key + 1 < KEYS && SIZE(BEFORE_LOSS) < MAX ->
        asked = BEFORE_LOSS }
    :: atomic { asked != NOTHING && (fetched == NOTHING || !ROUND_OVER) ->
        if
        :: !ASKED_AGAIN || asked == BEFORE_LOSS ->
            key = key + NEW_KEY;
            tree = asked * B + 2 + key;
            own_cosigned = asked;
            pending = NOTHING; mark = LENGTH(tree); standing = SURE
        :: else
        fi;
        asked = NOTHING;
        look() }
    od
}

active proctype witness() {
    do
    :: atomic { fetched == NOTHING && SIZE(tree) > SIZE(cosigned) -> fetched = tree; leaves(tree) }
    :: atomic { fetched != NOTHING ->
        if
        :: !spent && (!EXTENDING || EXTENDS(fetched, cosigned)) -> cosigned = fetched; made = true
        :: else
        fi;
        fetched = NOTHING }
    :: atomic { fetched != NOTHING -> fetched = NOTHING }       /* a crash, or a cut wire */
    :: atomic { !FETCHED_AGAIN && kept == NOTHING -> kept = tree; leaves(tree) }
    :: atomic { !PERSIST && fetched != NOTHING && !spent && EXTENDS(fetched, cosigned) ->
        cosignature_leaves(fetched); look() }
    :: atomic { made -> made = false; cosignature_leaves(cosigned); look() }
    :: atomic { !made && SIZE(cosigned) > SIZE(own_cosigned) && EXTENDS(tree, cosigned) ->
        own_cosigned = cosigned }                               /* it comes back; or never does */
    :: atomic { spent && cosigner + 1 < COSIGNERS -> cosigner++; spent = false }
    od
}

active proctype mishap() {
    do
    :: atomic { !LIAR && standing == SURE && backup == NOTHING -> backup = tree; backup_key = key }
    :: atomic { mishaps < MISHAPS && backup != NOTHING && (backup_key == key || !KEY_IN_FORCE) ->
        mishaps++;
        if
        :: true ->                                              /* restore, here or elsewhere */
            if :: mark = 0 :: skip fi;
            standing = (INSTANCE || mark == 0 -> UNCONFIRMED : SURE)
        :: mark >= LENGTH(shown[key]) -> standing = SURE        /* a copy put back in silence */
        fi;
        tree = backup; own_cosigned = 1; pending = NOTHING;
        if :: MARK && LENGTH(tree) < mark -> standing = ROLLED_BACK :: else fi;
        forgotten(); look() }
    :: atomic { !LIAR && mishaps < MISHAPS ->                   /* an empty disk */
        mishaps++;
        tree = 1; own_cosigned = 1; pending = NOTHING; mark = 0; standing = ROLLED_BACK;
        forgotten() }
    :: atomic { anchored == 1 && cosigned != 1 -> anchored = cosigned }
    :: atomic { mishaps < MISHAPS && cosigned != 1 ->           /* the witness forgets */
        mishaps++;
        if :: cosigned = 1 :: cosigned = anchored fi;
        fetched = (FETCHED_AGAIN -> NOTHING : kept); kept = NOTHING;
        made = false; spent = SPENT;
        forgotten(); look() }
    od
}
