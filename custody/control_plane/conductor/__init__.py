"""Requests of MPC mode: done in steps, each a ceremony or an order.

To be read in this order. planning, which is pure: facts (what a plan is made of), history (what the
steps so far tell), share_sets, decisions (what can be decided), quorum, obstacles, signing,
set_making, proving, endings, plan. Around it: reading (rows into facts), step_making (jobs and
tickets), writing (plans into rows), conductor (reads, plans, writes), tasks (what signers claim and
report), judging (what must hold of a report). Beside them: groups and bans, as the API shows them.
"""
