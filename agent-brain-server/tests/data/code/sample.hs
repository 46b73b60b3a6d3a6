module Net.Client (Client, connect) where

import Network.Socket

-- | Talks to one host.
data Client = Client
  { host :: String
  }

newtype Port = Port Int

type Handler = String -> IO ()

class Sender a where
  send :: a -> String -> IO ()

instance Sender Client where
  send _ _ = pure ()

-- | Connects.
connect :: String -> Client
connect "" = error "no host"
connect name = Client name

maxRetries :: Int
maxRetries = 3
