// What waiting in a long poll costs with the agent's libraries alone: libcurl with one authority and a client
// certificate, and an open SQLite database. The floor for the memory of an idle agent. usage: floor_idle_poll
// URL AUTHORITY_PEM CERTIFICATE_PEM KEY_PEM DATABASE; ends when its standard input does.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <curl/curl.h>
#include <sqlite3.h>

namespace {

std::size_t discard(char*, std::size_t size, std::size_t count, void*) {
  return size * count;
}

void require(bool done, const char* what) {
  if (done) return;
  std::fprintf(stderr, "floor_idle_poll: %s\n", what);
  std::exit(1);
}

}  // namespace

int main(int count, char** words) {
  if (count != 6) {
    std::fputs("usage: floor_idle_poll URL AUTHORITY_PEM CERTIFICATE_PEM KEY_PEM DATABASE\n", stderr);
    return 2;
  }
  sqlite3* database = nullptr;
  require(sqlite3_open(words[5], &database) == SQLITE_OK &&
              sqlite3_exec(database,
                           "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE tasks(id TEXT "
                           "PRIMARY KEY, data TEXT); INSERT INTO tasks VALUES('a', 'b')",
                           nullptr, nullptr, nullptr) == SQLITE_OK,
          "cannot make the database");
  curl_global_init(CURL_GLOBAL_DEFAULT);
  CURL* call = curl_easy_init();
  require(call != nullptr, "curl_easy_init");
  curl_easy_setopt(call, CURLOPT_URL, words[1]);
  curl_easy_setopt(call, CURLOPT_CAINFO, words[2]);
  curl_easy_setopt(call, CURLOPT_CAPATH, nullptr);
  curl_easy_setopt(call, CURLOPT_SSLCERT, words[3]);
  curl_easy_setopt(call, CURLOPT_SSLKEY, words[4]);
  curl_easy_setopt(call, CURLOPT_POSTFIELDS, "{}");
  curl_easy_setopt(call, CURLOPT_WRITEFUNCTION, discard);
  std::puts("ready");
  std::fflush(stdout);
  // The other side holds the call for as long as we are looked at.
  curl_easy_perform(call);
  curl_easy_cleanup(call);
  sqlite3_close(database);
  return 0;
}
