"""The durable record of every purchase, and the reason why nothing is bought twice.

**A claim.** Each generation has a key, and each key a row. Before anything is sent to fal, the
caller claims the key (`claims.Claims.claim`). The claim is one transaction: it locks the key's row,
finds the attempt that counts (`attempt.latest_of`), and looks up in the table `attempt.RERUN` what
to do: reuse the stored file, attach to the request, wait, reconcile, raise the recorded error, or
buy. Only *buy* writes a new attempt, with the fate `intended`, and only the caller that wrote it
may send the POST: it owns the attempt. One thing comes before the table: a person's consent to
replace this very attempt (`Claims.consent`). Claims that arrive at once share one transaction and
are decided one after another.

**A lease.** An owner counts as alive until its lease ends, by the database's clock. When the
connection to fal stands, right before the first byte, the owner changes `intended` to `sending`
(`Claims.begin_sending`). That is one compare-and-swap: it checks that the attempt is still its own,
still wanted and within its lease, and extends the lease beyond the POST's time limit. Then the
owner sends once (`fal.post.post_once`), and records the ticket (`records.Records.accepted`).

**Ambiguity.** An owner may die. An attempt that is still `intended` after its lease is void:
nothing was sent, and its owner can no longer send. An attempt that is still `sending` after its
lease is `ambiguous`: fal may have taken it. It is looked for in fal's request history (`search`),
and is adopted, or parked with an error that names the cures. The end of a lease leads to a search,
**never** to a purchase.

**The gap that remains.**

- A process that is killed between `sending` and the first byte has bought nothing, but nobody can
  know that: the history does not show the request, and absence proves nothing. The attempt is
  parked, and asks for consent.
- An owner that was frozen after `sending` finds, when it wakes, that the POST's time is over, and
  sends nothing. A few instructions lie between that last look at the clock and the first byte. An
  owner that was frozen there, or with bytes on the way, sends late. Nobody else has bought
  meanwhile, unless a person consented. In that case there are two requests, and both are recorded.
- If somebody else sent an equal request at the same time, with the same account, it cannot be told
  from a lost one. If it is the only one, it is adopted.
- A new ledger looks into fal's history for what the account bought before the ledger began, and
  repeats that until the ledger is older than the history may lag. It does not repeat it if the
  history shows no request to the endpoint in the day before: a newcomer's first video would take a
  minute longer. So another ledger buys again what was sent right before, if it is the only request
  of that day and is not listed yet; or if the history lags for longer than assumed.
- The bare client (`fal.client`) does not use a ledger, and does not claim to.

**Where to read on.**

- `attempt`: fates, the table of what a rerun does, attempts, purchases, decisions. Start here.
- `claims`: the claim, and the last check before the POST.
- `records`: tickets, results, errors and files, as they become known.
- `search`: requests whose tickets were lost. `beginning`: purchases from before the ledger began.
- `budgets`: what a scope may spend, and what was spent. `waiters`: who waits for which key.
- `database`: transactions, groups of callers, migrations. `tables`: tables, and the statements that
  several modules use. `address`: where the ledger is. `ledger`: all of it as one object.
- `upkeep`: for people; lists, export, rebuilding and pruning. It is loaded when it is asked for.

The engine's use of all this is in `prefect_hailuo.engine.acquire`.
"""
