# Third-party libraries, all from Debian's packages (dev installs them; see docs/building.md).
find_package(OpenSSL 3.0 REQUIRED)
find_package(CURL 7.88 REQUIRED)
find_package(SQLite3 3.40 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(fmt 9 REQUIRED)
find_package(spdlog 1.10 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_path(VALIJSON_HEADERS valijson/validator.hpp REQUIRED)  # headers alone; its package has no version

# Of these three our programs need no library in the one version that their build had. The first two are taken from their
# headers alone, the third from its static library, where there is one.
foreach(name fmt spdlog)
  add_library(agenttask_${name} INTERFACE)
  target_include_directories(agenttask_${name} SYSTEM INTERFACE $<TARGET_PROPERTY:${name}::${name},INTERFACE_INCLUDE_DIRECTORIES>)
endforeach()
target_compile_definitions(agenttask_fmt INTERFACE FMT_HEADER_ONLY=1)
target_compile_definitions(agenttask_spdlog INTERFACE SPDLOG_FMT_EXTERNAL)
target_link_libraries(agenttask_spdlog INTERFACE agenttask_fmt)
set(Boost_USE_STATIC_LIBS ON)
find_package(Boost 1.81 QUIET COMPONENTS url)
if(NOT Boost_url_FOUND)
  set(Boost_USE_STATIC_LIBS OFF)
  find_package(Boost 1.81 REQUIRED COMPONENTS url)
endif()

add_library(agenttask_precompiled STATIC ${CMAKE_SOURCE_DIR}/cmake/precompiled.cpp)
target_link_libraries(agenttask_precompiled PUBLIC agenttask_options nlohmann_json::nlohmann_json)
target_precompile_headers(agenttask_precompiled PRIVATE <nlohmann/json.hpp> <algorithm> <chrono> <cstdint>
  <filesystem> <functional> <map> <memory> <mutex> <optional> <span> <string> <string_view> <thread>
  <unordered_map> <variant> <vector>)
