# Third-party libraries, all from Debian's packages (dev installs them; see docs/building.md).
find_package(OpenSSL 3.0 REQUIRED)
find_package(CURL 7.88 REQUIRED)
find_package(SQLite3 3.40 REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(fmt 9 REQUIRED)
find_package(spdlog 1.10 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_path(VALIJSON_HEADERS valijson/validator.hpp REQUIRED)  # headers alone; its package has no version
find_package(Boost 1.81 REQUIRED COMPONENTS url)

add_library(agenttask_precompiled STATIC ${CMAKE_SOURCE_DIR}/cmake/precompiled.cpp)
target_link_libraries(agenttask_precompiled PUBLIC agenttask_options nlohmann_json::nlohmann_json)
target_precompile_headers(agenttask_precompiled PRIVATE <nlohmann/json.hpp> <algorithm> <chrono> <cstdint>
  <filesystem> <functional> <map> <memory> <mutex> <optional> <span> <string> <string_view> <thread>
  <unordered_map> <variant> <vector>)
