/* Few owners are asked anything at a time: a list is enough. One that is asked nothing any more
 * stays, so that its processes hear of it. */
#include <pthread.h>

#include "operator/channel/channel.h"

typedef struct Order {
    struct Order *next;
    char *owner;
    uint64_t version;
    ChannelOrders asked;
} Order;

struct OrderBook {
    pthread_mutex_t lock;
    Order *first;
    uint64_t versions;
};

OrderBook *order_book_new(void)
{
    OrderBook *orders = mem_zalloc(sizeof *orders);
    pthread_mutex_init(&orders->lock, NULL);
    return orders;
}

void order_book_free(OrderBook *orders)
{
    if (!orders)
        return;
    while (orders->first) {
        Order *next = orders->first->next;
        free(orders->first->owner);
        channel_orders_done(&orders->first->asked);
        free(orders->first);
        orders->first = next;
    }
    pthread_mutex_destroy(&orders->lock);
    free(orders);
}

static Order *order_of(const OrderBook *orders, const char *owner)
{
    Order *order = orders->first;
    while (order && strcmp(order->owner, owner) != 0)
        order = order->next;
    return order;
}

bool order_book_set(OrderBook *orders, const char *owner, const ChannelOrders *asked)
{
    static const ChannelOrders nothing = {0};
    const ChannelOrders *wanted = asked ? asked : &nothing;
    pthread_mutex_lock(&orders->lock);
    Order *order = order_of(orders, owner);
    bool is_new = !channel_orders_equal(order ? &order->asked : &nothing, wanted);
    if (is_new && !order) {
        order = mem_zalloc(sizeof *order);
        order->owner = mem_strdup(owner);
        order->next = orders->first;
        orders->first = order;
    }
    if (is_new) {
        order->version = ++orders->versions;
        channel_orders_copy(&order->asked, wanted);
    }
    pthread_mutex_unlock(&orders->lock);
    return is_new;
}

uint64_t order_book_version(OrderBook *orders, const char *owner)
{
    pthread_mutex_lock(&orders->lock);
    const Order *order = order_of(orders, owner);
    uint64_t version = order ? order->version : 0;
    pthread_mutex_unlock(&orders->lock);
    return version;
}

void order_book_put(OrderBook *orders, const char *owner, Bytes *to)
{
    static const ChannelOrders nothing = {0};
    pthread_mutex_lock(&orders->lock);
    const Order *order = order_of(orders, owner);
    channel_put_orders(to, order ? &order->asked : &nothing);
    pthread_mutex_unlock(&orders->lock);
}
