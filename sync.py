import sys; sys.path.insert(0,'/tmp/mine'); from stage import *
for p in ('agent/sync/membership.cpp','agent/sync/membership.hpp','tests/unit/agent_sync/membership_test.cpp','server/authority/authority.cpp','server/authority/authority.hpp','tests/unit/server_authority/authority_test.cpp'):
    stage(p,open('/work/main/'+p).read())
print(git("diff","--cached","--stat"))
