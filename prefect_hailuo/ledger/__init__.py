"""The durable record of paid work, and why nothing is bought twice.

**One key, one decision.** Every purchase starts with `claims.Claims.claim`: one transaction, in
which the row of the generation's key is locked. Those that come at once share one, and are decided
one after another (`grouping`). It finds the attempt that counts
(`attempts.latest_of`) and looks up in `fates.RERUN` what to do: reuse, attach, wait, reconcile,
raise, or buy. Only *buy* writes a new attempt (fate `intended`), and only its writer, the
attempt's owner, may POST. One thing goes before the table: a person's consent to one more purchase
in place of that very attempt (`Claims.consent`, `rules.may_replace`).

**One attempt, one POST.** Right before the first byte leaves, when the connection to fal stands,
the owner turns `intended` into `sending`, in one compare-and-swap (`Claims.begin_sending`) that
also asks whether the attempt is still his, wanted, and within its lease, and prolongs that beyond
the POST's hard time limit. After that he sends once (`fal.purchase.post_once`), and writes the
ticket down.

**Whoever dies leaves evidence.** An attempt found `intended` after its lease is void: its owner
never began to send, and can no longer. An attempt found `sending` after its lease is `ambiguous`:
it may have been bought. It is looked for in fal's own request history and adopted, or parked with
an error that names the cures. It is **never** taken for unsent: the end of a lease leads to a
search, not to a purchase.

**What gap remains.**

- A process killed between `sending` and the first byte has bought nothing, and nobody can know it:
  fal's history does not show it, and absence is no proof. It is parked, and asks for consent.
- An owner frozen after `sending` was written finds, when it wakes, that the POST's time is over,
  and sends nothing; but between that last look at the clock and the first byte there are a few
  instructions, and frozen in those, or with bytes on the way, it sends late. Until then the
  attempt was ambiguous, so nobody else bought unless somebody consented. If somebody did, there
  are two requests, and both are recorded.
- A stranger's request with the same account, endpoint, input and time as a lost one looks just
  like it, and is adopted in its place if it is the only one there.
- A new ledger looks into fal's history for what the account bought before it began, and again
  until the ledger is older than that history is taken to lag. It does not wait where the history
  shows no request to the endpoint in the last day before: a newcomer's first video would take a
  minute longer. If the one request of that day was sent just before, to one ledger, and is not
  listed yet, another ledger buys it again. So it does if the history lags for longer.
- The bare client (`fal.client`) does not come this way, and does not claim to.

**Where to read on.** The decision: `fates`, `claims`, `drafts`, `rules`, `attempts`, `sending`.
What became of it: `records`, `tickets`, `endings`, `rows`, `files`, `recorded` (errors). What was
lost: `reconciling`; from before the ledger began: `beginnings`, `earlier`, `imported`. Money:
`budgets`, `purses`, `spending`. Who waits: `waiters`; what nobody looks after: `unfinished`. The
database: `address`, `disks`, `database`, `turns`, `grouping`, `migrating`, `tables`, `statements`.
For people: `reading`, `standing`, `exchange`, `rebuilding`, `past`, `pruning`. The road that uses
all this is `prefect_hailuo.engine.acquire`.
"""
