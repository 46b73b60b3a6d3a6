#include <string>

namespace net {

constexpr int kMaxRetries = 3;

// Talks to one host.
class Client {
public:
    explicit Client(std::string host) : host_(host) {}
    ~Client();
    void send(const std::string &data);

private:
    std::string host_;
};

template <typename T>
struct Box {
    T value;
};

void Client::send(const std::string &data) {
}

template <typename T>
T largest(T a, T b) {
    return a > b ? a : b;
}

}  // namespace net
