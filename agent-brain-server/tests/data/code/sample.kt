package net.example

import java.net.Socket

const val MAX_RETRIES = 3

/** Talks to one host. */
@Serializable
data class Client(val host: String) {
    fun send(data: ByteArray) {
    }

    companion object {
        fun open(host: String) = Client(host)
    }
}

interface Sender {
    fun send(data: ByteArray)
}

object Registry

enum class State { OPEN }

typealias Handler = (String) -> Unit

fun connect(host: String): Client {
    return Client(host)
}
