/* A program for the stories: idle TOKEN [tree | until FILE]. Prints "begun", and waits to be ended. `tree` starts two more first, one of them apart from
   its process group; with `until` it ends by itself once there is that file, with "ended". The token is for whoever looks for it among the processes. */
#include <stdio.h>
#include <string.h>
#include <windows.h>

static void start(const char *token, DWORD flags) {
  char file[MAX_PATH], line[2 * MAX_PATH];
  STARTUPINFOA startup = {sizeof startup};
  PROCESS_INFORMATION made;
  GetModuleFileNameA(NULL, file, sizeof file);
  snprintf(line, sizeof line, "\"%s\" %s", file, token);
  if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, flags, NULL, NULL, &startup, &made)) ExitProcess(1);
}

int main(int count, char **words) {
  int tree = count == 3 && strcmp(words[2], "tree") == 0;
  int until = count == 4 && strcmp(words[2], "until") == 0;
  if (tree) {
    start(words[1], 0);
    start(words[1], CREATE_NEW_PROCESS_GROUP | DETACHED_PROCESS);
  }
  if (tree || until) {
    puts("begun");
    fflush(stdout);
  }
  while (!until || GetFileAttributesA(words[3]) == INVALID_FILE_ATTRIBUTES) Sleep(until ? 50 : INFINITE);
  puts("ended");
  return 0;
}
