import java.net.InetAddress;
import java.net.InetSocketAddress;

import org.apache.hadoop.hive.conf.HiveConf;
import org.apache.hadoop.hive.metastore.HiveMetaStore;
import org.apache.hadoop.hive.metastore.IHMSHandler;
import org.apache.hadoop.hive.metastore.TUGIBasedProcessor;
import org.apache.hadoop.hive.thrift.TUGIContainingTransport;
import org.apache.thrift.protocol.TBinaryProtocol;
import org.apache.thrift.protocol.TProtocol;
import org.apache.thrift.server.ServerContext;
import org.apache.thrift.server.TServerEventHandler;
import org.apache.thrift.server.TThreadPoolServer;
import org.apache.thrift.transport.TServerSocket;
import org.apache.thrift.transport.TTransport;

/**
 * Hive's own metastore handler behind a socket on loopback. Hive 2.3's main class can only listen on every interface,
 * and the metastore asks nobody for a password. Compiled in memory at start by the Janino that Spark carries, so no JDK
 * is needed; Janino knows no type inference, hence the raw types.
 */
public class LoopbackMetastore {
    public static void main(String[] arguments) throws Exception {
        InetSocketAddress address =
            new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(arguments[0]));
        HiveConf conf = new HiveConf(HiveMetaStore.class);
        final IHMSHandler handler = HiveMetaStore.newRetryingHMSHandler(
            new HiveMetaStore.HMSHandler("metastore", conf, false), conf);
        TThreadPoolServer.Args settings = new TThreadPoolServer.Args(new TServerSocket(address));
        // As Hive does by default: what a client asks for is done as that client's user.
        settings.transportFactory(new TUGIContainingTransport.Factory());
        settings.processor(new TUGIBasedProcessor(handler));
        settings.protocolFactory(new TBinaryProtocol.Factory());
        settings.minWorkerThreads(4);
        settings.maxWorkerThreads(200);
        TThreadPoolServer server = new TThreadPoolServer(settings);
        server.setServerEventHandler(new TServerEventHandler() {
            public void preServe() {}

            public ServerContext createContext(TProtocol input, TProtocol output) {
                return null;
            }

            // Runs in the connection's thread when its client is gone, killed ones too: gives back what it held open.
            public void deleteContext(ServerContext context, TProtocol input, TProtocol output) {
                try {
                    handler.shutdown();
                } catch (Exception error) {
                    System.err.println("while a client left: " + error);
                }
            }

            public void processContext(ServerContext context, TTransport input, TTransport output) {}
        });
        server.serve();
    }
}
