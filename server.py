import sys; sys.path.insert(0,'/tmp/mine'); from stage import *
HEAD=lambda p: git("show",f"HEAD:{p}")
def replaced(p,*pairs):
    s=HEAD(p)
    for a,b in pairs:
        assert a in s,(p,a); s=s.replace(a,b,1)
    stage(p,s)
mine=has('kept_since','LivedTime','lived','insert_message(','forget_before','purgeable_tasks','remove_messages_before','ClockRecord','clock_record','date_what_is_over')
for p in ('server/store/housekeeping.cpp','server/store/housekeeping.hpp','server/store/clock_watch.cpp','server/store/clock_watch.hpp','server/main/service.cpp','tests/component/server_store/retention_test.cpp'):
    stage(p,open('/work/main/'+p).read())
stage('server/store/records.hpp',build('server/store/records.hpp',has('ClockRecord')))
replaced('server/store/reports.cpp',('insert_message(record, now_)','insert_message(record)'))
stage('server/store/sqlite/reads.cpp',build('server/store/sqlite/reads.cpp',has('LivedTime')))
stage('server/store/sqlite/reads.hpp',build('server/store/sqlite/reads.hpp',mine))
w=open('/work/main/server/store/sqlite/schema.cpp').read()
a=w.index('// What a restore lost'); b=w.index('constexpr std::array<std::string_view'); e=w.index('};',b)+3
w=w[:a]+'constexpr std::array<std::string_view, 9> kMigrations{kFirst,     kLineage, kWallClock, kBounds,   kTaskModel,\n                                                      kQuestions, kWorkers, kWorlds,    kLivedTime};\n'+w[e:]
assert 'kRecovery' not in w
stage('server/store/sqlite/schema.cpp',w)
stage('server/store/sqlite/task_reads.cpp',build('server/store/sqlite/task_reads.cpp',has('purgeable_tasks')))
stage('server/store/sqlite/writes.cpp',build('server/store/sqlite/writes.cpp',lambda i,h,t: mine(i,h,t) or '#include' in t or 'message.' in t or 'content, time' in t))
stage('server/store/sqlite/writes.hpp',build('server/store/sqlite/writes.hpp',mine))
stage('server/store/store.hpp',build('server/store/store.hpp',mine))
replaced('server/api/operators_api/messages.cpp',('insert_message(record, call.now)','insert_message(record)'))
for p,words in (('tests/component/server_api/messages_test.cpp',('insert_message(record','OldOnesGo','housekeeping.hpp','old")}','remove_','return count;','keep_house','purge(')),('tests/component/server_api/tasks_test.cpp',('purge(writes',)),('tests/component/server_api/enrollment_test.cpp',('date_what_is_over','purgeable_tasks')),('tests/component/server_store/migrations_test.cpp',('lived_time','forget_before','kNode, ""}')),('tests/component/server_store/store_test.cpp',('keep_house','"boot"','class Retention','purge('))):
    print(p,len(hunks(p)))
    stage(p,build(p,has(*words)))
print(git("diff","--cached","--stat"))
