import sys; sys.path.insert(0,'/tmp/mine'); from stage import *
HEAD=lambda p: git("show",f"HEAD:{p}")
def replace(p,*pairs):
    s=HEAD(p)
    for a,b in pairs:
        assert a in s,(p,a); s=s.replace(a,b,1)
    stage(p,s)
print("index:",git("diff","--cached","--name-only"))
replace('platform/base/CMakeLists.txt',('ids.cpp log.cpp','ids.cpp lived_time.cpp log.cpp'))
replace('agent/ledger/CMakeLists.txt',('recurrence.cpp schema.cpp','recurrence.cpp retention.cpp schema.cpp'))
stage('agent/ledger/ledger.hpp',build('agent/ledger/ledger.hpp',has('purge(std::size_t')))
stage('agent/ledger/ledger_queue.cpp',build('agent/ledger/ledger_queue.cpp',has('purge_runs','Ledger::purge(')))
stage('agent/ledger/ledger_streams.cpp',build('agent/ledger/ledger_streams.cpp',has('retention','INTO remembered')))
stage('agent/ledger/ledger_types.hpp',build('agent/ledger/ledger_types.hpp',has('struct Purged')))
s=open('/work/main/agent/ledger/schema.cpp').read()
a=s.index('// Saved from a damaged ledger'); b=s.index('constexpr std::array kMigrations')
s=s[:a]+'constexpr std::array kMigrations{kVersion1, kVersion2, kVersion3, kVersion4,\n                                 kVersion5, kVersion6, kVersion7, kVersion8};\n'+s[s.index('\n\n}  // namespace',b)+1:]
stage('agent/ledger/schema.cpp',s)
stage('agent/runner/runner_loop.cpp',build('agent/runner/runner_loop.cpp',has('purge(kPurgedAtOnce)')))
for p in ('agent/ledger/clocks.cpp','agent/ledger/clocks.hpp','agent/ledger/retention.cpp','platform/base/lived_time.cpp','platform/base/lived_time.hpp','tests/unit/base/lived_time_test.cpp','tests/unit/agent_ledger/retention_test.cpp'):
    stage(p,open('/work/main/'+p).read())
for p in ('tests/unit/agent_ledger/wishes_test.cpp','tests/unit/agent_ledger/streams_test.cpp','tests/unit/agent_ledger/local_tasks_test.cpp'):
    stage(p,build(p,has('purge(','AWallClockThatJumpsRemovesNothing')))
print(git("diff","--cached","--stat"))
