import sys; sys.path.insert(0,'/tmp/mine'); from stage import *
HEAD=lambda p: git("show",f"HEAD:{p}")
def lines_from(h,start,end):
    t="".join(h['plus']); a=t.index(start); b=t.index(end,a) if end else len(t)
    return t[a:b].splitlines(keepends=True)
def dev(i,h,t):
    if '  soak  [--preset' in t: return lines_from(h,'  soak  [--preset','  fuzz  [')if '  fuzz  [' in t else True
    if 'soak() {' in t: return lines_from(h,'soak() {','# ---- fuzzing') if '# ---- fuzzing' in t else True
    if 'soak) soak' in t: return [l for l in h['plus'] if 'soak) soak' in l]
    return False
s=build('dev',dev)
sha=git("hash-object","-w","--stdin",input=s).strip(); git("update-index","--cacheinfo",f"100755,{sha},dev")
def testing(i,h,t):
    if '## The soak' in t: return True
    if '`tests/soak`' in t: return [l for l in h['plus'] if '`tests/soak`' in l]
    return 'lived_time_test' in t
stage('docs/testing.md',build('docs/testing.md',testing))
def decisions(i,h,t):
    if '**Ages count by lived time.**' in t: return lines_from(h,'**Ages count by lived time.**',None) if h['plus'][0].startswith('**Ages') else True
    return '`message-retention` (30 days)' in t
stage('docs/decisions.md',build('docs/decisions.md',decisions))
stage('docs/tasks.md',build('docs/tasks.md',has('time that really passed')))
stage('README.md',build('README.md',has('docs/guarantees.md')))
stage('CHANGELOG.md',build('CHANGELOG.md',lambda i,h,t: [l for l in h['plus'] if any(w in l for w in ('What is kept for a time is kept','without a clock of its own still purges','`./dev soak`: an hour','is kept and tried, and what is not promised'))] if 'What is kept for a time' in t else False))
for p in ('docs/guarantees.md','tests/arch/test_documents.py','tests/soak/measure.py','tests/soak/soak.py','tests/system/test_soak.py','tests/system/test_clocks.py'):
    stage(p,open('/work/main/'+p).read())
h=HEAD('tests/component/server_store/store_test.cpp')
if 'TEST_F(DeviceTest, AnEpoch' in h:
    stage('tests/component/server_store/store_test.cpp',h.replace('TEST_F(DeviceTest, AnEpoch','TEST_F(StoreTest, AnEpoch'))
print(git("diff","--cached","--stat")); print(git("diff","--cached","--","dev","CHANGELOG.md","docs/decisions.md","docs/testing.md","README.md"))
