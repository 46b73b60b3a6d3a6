package net.example

import java.net.Socket

/** Talks to one host. */
class Client(host: String) extends Base {
  def send(data: Array[Byte]): Unit = {
  }
}

object Client {
  val MaxRetries = 3
  def open(host: String): Client = new Client(host)
}

trait Sender {
  def send(data: Array[Byte]): Unit
}

case class Point(x: Int, y: Int)

enum State {
  case Open
}
