# deb and rpm of agent, server and worker library, by CPack: `./dev package`, or in a release build folder
#   cmake --build . --target packages && cpack
# Texts that say what programs can do (manual pages, settings, completion) are made from the programs themselves.
# With SOURCE_DATE_EPOCH in the environment two packages of the same programs are the same, bit by bit.
include(GNUInstallDirs)

get_filename_component(agenttask_root ${CMAKE_CURRENT_LIST_DIR} DIRECTORY)
set(installer ${agenttask_root}/installer)
set(work ${CMAKE_BINARY_DIR}/installer)
set(AGENTTASK_PROGRAMS_FOLDER ${CMAKE_BINARY_DIR}/bin CACHE PATH "Where the finished programs are that go into packages")
set(AGENTTASK_PACKAGE_TEXTS "" CACHE PATH "Where a build whose programs run here has made the texts; empty: they are made of the programs")

find_program(SCDOC_PROGRAM scdoc)
find_package(Python3 COMPONENTS Interpreter)
if(NOT SCDOC_PROGRAM OR NOT Python3_Interpreter_FOUND)
  message(STATUS "No packages: they need scdoc and Python 3 (./dev package installs them)")
  return()
endif()

# ---- what is made of the programs

set(made)
set(packaged agenttask agenttaskd agenttask-server)
if(CMAKE_CROSSCOMPILING)
  set(packaged agenttask agenttaskd)  # for devices
endif()
foreach(program ${packaged})
  set(from_${program} ${AGENTTASK_PROGRAMS_FOLDER}/${program})
  set(depends_${program} $<$<TARGET_EXISTS:${program}>:${program}>)
  # Late binding off: what the loader resolves is read-only before the first instruction of ours.
  if(TARGET ${program})
    target_link_options(${program} PRIVATE -Wl,-z,relro,-z,now)
  endif()
  add_custom_command(OUTPUT ${work}/bin/${program} DEPENDS ${from_${program}} ${depends_${program}}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${work}/bin
    COMMAND ${CMAKE_STRIP} --strip-all --remove-section=.comment -o ${work}/bin/${program} ${from_${program}} VERBATIM)
  list(APPEND made ${work}/bin/${program})
endforeach()
# Each text may name any of them.
set(programs ${made})
set(pages ${installer}/man/pages.py)

# agenttask_text(OUTPUT COMMAND…): one generated file.
function(agenttask_text output)
  add_custom_command(OUTPUT ${work}/${output} DEPENDS ${programs} ${pages} COMMAND ${ARGN} VERBATIM)
  set(made ${made} ${work}/${output} PARENT_SCOPE)
endfunction()

set(dated)
if(DEFINED ENV{SOURCE_DATE_EPOCH})
  set(dated "SOURCE_DATE_EPOCH=$ENV{SOURCE_DATE_EPOCH}")
endif()
if(AGENTTASK_PACKAGE_TEXTS)
  foreach(text agenttask.1.gz agenttaskd.8.gz agent.conf.example completion.bash completion.zsh)
    add_custom_command(OUTPUT ${work}/${text} DEPENDS ${AGENTTASK_PACKAGE_TEXTS}/${text}
      COMMAND ${CMAKE_COMMAND} -E copy ${AGENTTASK_PACKAGE_TEXTS}/${text} ${work}/${text} VERBATIM)
    list(APPEND made ${work}/${text})
  endforeach()
else()
foreach(page agenttask.1 agenttaskd.8 agenttask-server.8)
  add_custom_command(OUTPUT ${work}/${page}.gz DEPENDS ${programs} ${pages} ${installer}/man/${page}.scd.in
    COMMAND ${Python3_EXECUTABLE} ${pages} man ${work}/bin ${installer}/man/${page}.scd.in ${work}/${page}.scd
    COMMAND sh -c "${dated} ${SCDOC_PROGRAM} <${page}.scd >${page} && gzip -9nf ${page}" WORKING_DIRECTORY ${work} VERBATIM)
  list(APPEND made ${work}/${page}.gz)
endforeach()
agenttask_text(agent.conf.example ${Python3_EXECUTABLE} ${pages} settings ${work}/bin agenttaskd ${work}/agent.conf.example)
agenttask_text(server.conf.example ${Python3_EXECUTABLE} ${pages} settings ${work}/bin agenttask-server ${work}/server.conf.example)
agenttask_text(completion.bash sh -c "${work}/bin/agenttask completion bash >${work}/completion.bash")
agenttask_text(completion.zsh sh -c "${work}/bin/agenttask completion zsh >${work}/completion.zsh")
endif()
add_custom_target(packages DEPENDS ${made})
if(TARGET agenttask_worker)
  add_dependencies(packages agenttask_worker)
endif()

# ---- what each package has, and where

# agenttask_documents(COMPONENT PACKAGE FILE…): copyright, changelogs, documents.
function(agenttask_documents component package)
  set(folder ${CMAKE_INSTALL_DATADIR}/doc/${package})
  install(FILES ${installer}/deb/copyright ${ARGN} DESTINATION ${folder} COMPONENT ${component})
  # Debian's changelog of a package that has no other source than this.
  string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
  file(CONFIGURE OUTPUT ${work}/${package}/changelog @ONLY CONTENT
"${package} (${PROJECT_VERSION}) stable; urgency=medium

  * Release ${PROJECT_VERSION}; what is new is in CHANGELOG.md.

 -- AgentTask maintainers <maintainers@agenttask.example>  ${date}
")
  execute_process(COMMAND gzip -9nkf changelog WORKING_DIRECTORY ${work}/${package} COMMAND_ERROR_IS_FATAL ANY)
  install(FILES ${work}/${package}/changelog.gz DESTINATION ${folder} COMPONENT ${component})
  if(EXISTS ${installer}/deb/${component}/lintian-overrides)
    install(FILES ${installer}/deb/${component}/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides
      RENAME ${package} COMPONENT ${component})
  endif()
endfunction()

set(of_owner PERMISSIONS OWNER_READ OWNER_WRITE)  # may hold a token, or a proxy's password

install(PROGRAMS ${work}/bin/agenttaskd ${work}/bin/agenttask DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT agent)
# Settings files say the same in each version, so that an upgrade has nothing to ask where they were edited.
install(FILES ${installer}/linux/agent.conf DESTINATION /etc/agenttask ${of_owner} COMPONENT agent)
install(DIRECTORY DESTINATION /etc/agenttask/workers COMPONENT agent)
install(FILES ${installer}/linux/agenttask.default DESTINATION /etc/default RENAME agenttask ${of_owner} COMPONENT agent)
install(FILES ${installer}/linux/agenttask.service DESTINATION lib/systemd/system COMPONENT agent)
install(FILES ${installer}/linux/agenttask.sysusers DESTINATION lib/sysusers.d RENAME agenttask.conf COMPONENT agent)
install(FILES ${work}/completion.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME agenttask COMPONENT agent)
install(FILES ${work}/completion.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions RENAME _agenttask COMPONENT agent)
install(FILES ${work}/agenttask.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT agent)
install(FILES ${work}/agenttaskd.8.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT agent)
agenttask_documents(agent agenttask-agent ${agenttask_root}/CHANGELOG.md ${agenttask_root}/docs/install.md ${agenttask_root}/docs/policy.md
  ${agenttask_root}/docs/recovery.md ${agenttask_root}/docs/tasks.md ${work}/agent.conf.example)

install(PROGRAMS ${work}/bin/agenttask-server DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT server)
install(FILES ${installer}/linux/server.conf DESTINATION /etc/agenttask COMPONENT server)
install(FILES ${installer}/linux/agenttask-server.default DESTINATION /etc/default RENAME agenttask-server COMPONENT server)
install(FILES ${installer}/linux/agenttask-server.service DESTINATION lib/systemd/system COMPONENT server)
install(FILES ${installer}/linux/agenttask-server.sysusers DESTINATION lib/sysusers.d RENAME agenttask-server.conf COMPONENT server)
install(FILES ${work}/agenttask-server.8.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man8 COMPONENT server)
agenttask_documents(server agenttask-server ${agenttask_root}/CHANGELOG.md ${agenttask_root}/docs/install.md ${agenttask_root}/docs/recovery.md
  ${work}/server.conf.example)

# The worker library has its own rules, in worker/CMakeLists.txt; here it sheds what only a debugger reads.
install(CODE "execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-debug --enable-deterministic-archives
  \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/libagenttask-worker.a\" COMMAND_ERROR_IS_FATAL ANY)" COMPONENT worker)
agenttask_documents(worker agenttask-worker-dev ${agenttask_root}/CHANGELOG.md ${agenttask_root}/docs/workers.md)

# ---- the packages

set(CPACK_PACKAGE_NAME agenttask)
set(CPACK_PACKAGE_VENDOR "AgentTask")
set(CPACK_PACKAGE_CONTACT "AgentTask maintainers <maintainers@agenttask.example>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_GENERATOR DEB)
set(CPACK_COMPONENTS_ALL agent server)
if(CMAKE_CROSSCOMPILING)
  set(CPACK_COMPONENTS_ALL agent)
  # What dpkg-shlibdeps knows of the packages of here it has to know of those in the toolchain's folder.
  set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE ${AGENTTASK_DEBIAN_ARCHITECTURE})
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_SYSROOT}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE})
endif()
if(TARGET agenttask_worker)
  list(APPEND CPACK_COMPONENTS_ALL worker)
endif()
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

# Each has its own words: CPack would put the project's before them.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")
set(CPACK_COMPONENT_AGENT_DESCRIPTION "agent of AgentTask: runs tasks on this device, and its console
Keeps a durable inbox of tasks on the device and runs them on time, with or
without a network: what an operator queued on a task server, what somebody
added with the console, and what recurs. A run starts at most once, and what
a crash cut off is reported and not silently run again.
.
With the console, agenttask, which is an operator's command line for a task
server, too.")
set(CPACK_COMPONENT_SERVER_DESCRIPTION "task server of AgentTask: queues tasks for devices
A lightweight HTTPS server with an embedded database: operators queue tasks
for devices and follow them, devices fetch them and report what became of
them. It is its own certificate authority, and needs no other service.")
set(CPACK_COMPONENT_WORKER_DESCRIPTION "worker library of AgentTask, for C++ and Python
What one needs to write programs that run tasks of their own types on a
device: a static library with its header, CMake package and pkg-config file,
and a Python module of one file. Workers carry their own copy, so that
devices do not need this package.")

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_AGENT_PACKAGE_NAME agenttask-agent)
set(CPACK_DEBIAN_AGENT_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_AGENT_PACKAGE_DEPENDS "systemd, passwd, debconf (>= 0.5) | debconf-2.0")
set(CPACK_DEBIAN_AGENT_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_AGENT_PACKAGE_SUGGESTS "agenttask-server, bash-completion")
set(CPACK_DEBIAN_SERVER_PACKAGE_NAME agenttask-server)
set(CPACK_DEBIAN_SERVER_PACKAGE_SECTION net)
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS "systemd, passwd")
set(CPACK_DEBIAN_SERVER_PACKAGE_SUGGESTS "agenttask-agent")
set(CPACK_DEBIAN_WORKER_PACKAGE_NAME agenttask-worker-dev)
set(CPACK_DEBIAN_WORKER_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_WORKER_PACKAGE_DEPENDS "nlohmann-json3-dev (>= 3.11)")
set(CPACK_DEBIAN_WORKER_PACKAGE_SHLIBDEPS OFF)
foreach(component agent server)
  string(TOUPPER ${component} upper)
  file(GLOB control ${installer}/deb/${component}/*)
  list(FILTER control EXCLUDE REGEX "lintian-overrides$")
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA ${control})
endforeach()

set(CPACK_RPM_COMPONENT_INSTALL ON)
set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_LICENSE Apache-2.0)
set(CPACK_RPM_PACKAGE_AUTOREQ ON)
set(CPACK_RPM_COMPRESSION_TYPE xz)
set(CPACK_RPM_PACKAGE_RELOCATABLE OFF)
set(CPACK_PACKAGE_RELOCATABLE OFF)  # which would make it so all the same
set(CPACK_RPM_BUILD_SOURCE_DATE_EPOCH ON)
set(CPACK_RPM_SPEC_MORE_DEFINE "%define use_source_date_epoch_as_buildtime 1\n%define clamp_mtime_to_source_date_epoch 1\n%define _buildhost agenttask\n%define _build_id_links none\n%define __os_install_post %{nil}")
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION
  /etc /etc/default /usr/lib/systemd /usr/lib/systemd/system /usr/lib/sysusers.d /usr/share/bash-completion
  /usr/share/bash-completion/completions /usr/share/zsh /usr/share/zsh/vendor-completions /usr/share/man /usr/share/man/man1
  /usr/share/man/man8 /usr/share/doc /usr/share/lintian /usr/share/lintian/overrides /usr/lib/pkgconfig /usr/lib/cmake)
set(CPACK_RPM_agent_PACKAGE_NAME agenttask-agent)
set(CPACK_RPM_agent_PACKAGE_SUMMARY "Agent of AgentTask: runs tasks on this device, and its console")
set(CPACK_RPM_agent_PACKAGE_REQUIRES "systemd")
set(CPACK_RPM_agent_USER_FILELIST "%config(noreplace) %attr(0600,root,root) /etc/agenttask/agent.conf"
  "%config(noreplace) %attr(0600,root,root) /etc/default/agenttask")
set(CPACK_RPM_agent_PRE_INSTALL_SCRIPT_FILE ${installer}/rpm/agent.pre)
set(CPACK_RPM_server_PACKAGE_NAME agenttask-server)
set(CPACK_RPM_server_PACKAGE_SUMMARY "Task server of AgentTask: queues tasks for devices")
set(CPACK_RPM_server_PACKAGE_REQUIRES "systemd, shadow-utils")
set(CPACK_RPM_server_USER_FILELIST "%config(noreplace) /etc/agenttask/server.conf" "%config(noreplace) /etc/default/agenttask-server")
set(CPACK_RPM_worker_PACKAGE_NAME agenttask-worker-devel)
set(CPACK_RPM_worker_PACKAGE_SUMMARY "Worker library of AgentTask, for C++ and Python")
set(CPACK_RPM_worker_PACKAGE_REQUIRES "json-devel >= 3.11")
foreach(component agent server)
  set(CPACK_RPM_${component}_POST_INSTALL_SCRIPT_FILE ${installer}/rpm/${component}.post)
  set(CPACK_RPM_${component}_PRE_UNINSTALL_SCRIPT_FILE ${installer}/rpm/${component}.preun)
  set(CPACK_RPM_${component}_POST_UNINSTALL_SCRIPT_FILE ${installer}/rpm/${component}.postun)
endforeach()
include(CPack)
