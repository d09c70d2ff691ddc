"""Where things are read and changed, a desk for each kind: the JSON API and the pages both come here.

Every call names its caller, whose sight bounds what is answered; a change is in the database, in the audit log and in
every worker before it returns.
"""
